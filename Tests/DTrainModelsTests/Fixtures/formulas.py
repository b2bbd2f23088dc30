"""Weights and images as formulas that NumPy and Swift (`Formula.swift`) compute bit for bit; and torchvision on a CPU-only torch.

signed(name, i) is uniform in [-1, 1): splitmix64's output for the state FNV-1a(name) + (i + 1) · 0x9E3779B97F4A7C15, its upper
24 bits as a multiple of 2^-23, minus 1.

A tensor's element i (PyTorch's order) is, with s = signed(name, i), in fp32, one rounding an operation:
  running_mean         0.2 · s
  running_var          1 + 0.5 · s
  weight, one extent   1 + 0.5 · s; a quarter of that where the name ends in the given `branch_end`, the last normalisation of
                       a residual branch, so that fifty branches do not make the sum grow without bound
  bias                 0.1 · s
  other weights        √(6 / fan in) · s
  num_batches_tracked  0

Pixel (y, x) of channel c of image n is 2^((n mod 3) - 1) times
  1.5 · signed("patches", (3n + c) · 4096 + (y div 16) · 64 + x div 16) + 0.5 · signed("pixels", (3n + c) · 2^20 + 1024y + x):
patches and several contrasts, because noise alone looks alike to a network that averages over pixels. The label of image n is
(37n + 5) mod classes.
"""
import functools
import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

GOLDEN = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


@functools.cache
def torchvision():
    """torchvision; a wheel built for CUDA imports on a CPU-only torch when its operators are declared first."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms", "roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
                 "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward",
                 "_cuda_version"):
        try:
            library.define(name + "(Tensor a) -> Tensor")
        except RuntimeError:
            pass
    import torchvision as module
    module._library = library                 # the declarations live as long as their owner
    return module


def fnv1a(text):
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = (state ^ byte) * 0x100000001B3 & MASK
    return state


def signed(name, index):
    """fp32, uniform in [-1, 1), for an array of indices."""
    state = np.asarray(index, dtype=np.uint64) + np.uint64(1)
    state = state * np.uint64(GOLDEN) + np.uint64(fnv1a(name))
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def values(name, shape, branch_end):
    s = signed(name, np.arange(int(np.prod(shape)), dtype=np.uint64))
    if name.endswith("running_mean"):
        result = np.float32(0.2) * s
    elif name.endswith("running_var"):
        result = np.float32(1) + np.float32(0.5) * s
    elif name.endswith("bias"):
        result = np.float32(0.1) * s
    elif len(shape) == 1:
        result = np.float32(1) + np.float32(0.5) * s
        if branch_end and name.endswith(branch_end):
            result = np.float32(0.25) * result
    else:
        result = np.float32(np.sqrt(6 / np.float64(np.prod(shape[1:])))) * s
    return result.reshape(shape)


def fill(model, branch_end=None):
    """Gives every parameter and buffer of `model` its formula's values."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.zero_()
            else:
                tensor.copy_(torch.from_numpy(values(name, tuple(tensor.shape), branch_end)))


def images(count, size, channels=3, first=0):
    extents = (count, channels, size, size)
    n, c, y, x = np.meshgrid(*(np.arange(extent, dtype=np.uint64) for extent in extents), indexing="ij")
    n = n + np.uint64(first)
    plane = np.uint64(3) * n + c
    patches = signed("patches", plane * np.uint64(4096) + (y // np.uint64(16)) * np.uint64(64) + x // np.uint64(16))
    pixels = signed("pixels", plane * np.uint64(2**20) + np.uint64(1024) * y + x)
    contrast = np.float32([0.5, 1, 2])[n % np.uint64(3)]
    return torch.from_numpy(contrast * (np.float32(1.5) * patches + np.float32(0.5) * pixels))


def labels(count, classes, first=0):
    return (37 * torch.arange(first, first + count) + 5) % classes


def set_dropout(model, probability):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability


class SmallestMargin(TorchFunctionMode):
    """Records how close any ReLU comes to deciding otherwise (its input to zero) and any pooling (its two largest pixels to
    each other), in units of the deviation of what it reads. Where this is no more than rounding, a gradient is there or not by
    chance, so that the generators choose images that keep it large."""
    value = 1.0

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords, name, x = keywords or {}, getattr(function, "__name__", ""), arguments[0] if arguments else None
        if name in ("relu", "relu_"):
            self.record(x.detach().abs().min(), x)
        elif name in ("max_pool2d", "boolean_dispatch"):
            # An image of which every output has moved a little: the second largest pixel wins where the largest is hidden.
            channels = x.detach().flatten(0, 1).unsqueeze(1)
            names = ("kernel_size", "stride", "padding")
            given = dict(zip(names, arguments[1:])) | {key: keywords[key] for key in names if key in keywords}
            padding = given.get("padding", 0)
            windows = F.unfold(F.pad(channels, [padding] * 4, value=-1e30), given["kernel_size"], stride=given.get("stride") or given["kernel_size"])
            two = windows.topk(2, 1).values
            gaps = (two[:, 0] - two[:, 1])[two[:, 0] != two[:, 1]]
            if gaps.numel():
                self.record(gaps.min(), x)
        return function(*arguments, **keywords)

    def record(self, distance, x):
        self.value = min(self.value, (distance / x.detach().std()).item())


def margin(model, x):
    """The smallest margin of a pass in training mode, in float64."""
    with SmallestMargin() as mode, torch.no_grad():
        model.double().train()(x.double())
    return mode.value


def check(exact, single, scales, what):
    """Prints and bounds what fp32 differs by, in units of what the tests allow: 1e-4 of `scales`."""
    off = {key: np.abs(exact[key] - single[key]).max() / scales[key] / 1e-4 for key in exact}
    worst = max(off, key=off.get)
    print(f"{what}; fp32 is off by at most {off[worst]:.4f} of what is allowed ({worst})", flush=True)
    assert off[worst] < 0.5, what


def gradient_scales(gradients):
    """A gradient is compared with the larger of its own largest element and a thousandth of the model's."""
    floor = max(np.abs(gradient).max() for gradient in gradients.values()) / 1000
    return {key: max(np.abs(gradient).max(), floor) for key, gradient in gradients.items()}
