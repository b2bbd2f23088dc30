#!/usr/bin/env python3
"""torchvision's own randomly initialised models for `TorchvisionExportTests`, and the way back; run by scripts/torchvision-parity.sh.

  python export_torchvision.py export DIRECTORY MODEL      writes DIRECTORY/MODEL/
  python export_torchvision.py verify DIRECTORY MODEL      loads what dtrain saved there

  weights.safetensors    the state dictionary: torchvision's initialisation, running statistics moved by STATISTICS_STEPS forward
                         passes in training mode with the one of MOMENTA with which fp32 resolves most, judged by PyTorch alone:
                         among those where the images' logits differ by a tenth of their size, its own fp32 logits are the
                         least off in the worse of both memory formats. (The average of all passes, None, leaves
                         deep networks so sensitive that PyTorch's fp32 itself is up to 8e-4 off; with 0.1 googlenet's activations
                         vanish, and its logits differ by 3e-12.) Of resnet101, resnext50_32x4d, resnext101_32x8d and
                         wide_resnet101_2 it stays above 1e-4 with every such choice, and so does dtrain.
  samples.safetensors    `images` F32 [BATCH, 224, 224, 3] (channels last), `labels` I32 [BATCH], and in float64, rounded to fp32:
                         `logits` in evaluation, `loss` in training mode without dropout (of googlenet with 0.3 times both
                         auxiliary losses); `float32_errors` F32 [2]: ‖g − g64‖ / ‖g64‖ of PyTorch's own fp32 gradients in
                         its two memory formats, NCHW and channels_last. They differ by orders of magnitude where a ReLU's input is
                         zero but for rounding: of resnet18, 2e-6 and 1e-3. dtrain's layout is that of channels_last.
  gradients.safetensors  g64, every parameter's gradient of the loss in float64, rounded to fp32
  model.safetensors, dtrain_logits.safetensors    dtrain's: what it saves, and its logits
"""
import pathlib, sys
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from formulas import set_dropout, torchvision

BATCH, SIZE, STATISTICS_STEPS, MOMENTA = 2, 224, 4, (None, 0.5, 0.1)


def smooth_images(count):
    """Random images with structure of all sizes and different contrasts, so that their logits differ clearly."""
    x = sum(F.interpolate(torch.randn(count, 3, cells, cells), SIZE, mode="bilinear") for cells in (2, 7, 28, SIZE))
    return x * torch.tensor([0.5, 1.0] * count)[:count].view(-1, 1, 1, 1)


def make(name):
    return getattr(torchvision().models, name)(**({"init_weights": True} if name == "googlenet" else {}))


def loss_of(outputs, labels):
    if torch.is_tensor(outputs):
        return F.cross_entropy(outputs, labels)
    return F.cross_entropy(outputs.logits, labels) + 0.3 * (
        F.cross_entropy(outputs.aux_logits1, labels) + F.cross_entropy(outputs.aux_logits2, labels))


def step(model, state, dtype, images, labels):
    model.load_state_dict(state)
    model.to(dtype).zero_grad()
    with torch.no_grad():
        logits = model.eval()(images.to(dtype))
    loss = loss_of(model.train()(images.to(dtype)), labels)
    loss.backward()
    return logits, loss.detach(), {name: p.grad.double() for name, p in model.named_parameters()}


def moved(model, initial, passes, momentum):
    """The state after forward passes in training mode; momentum None averages over them."""
    model.load_state_dict(initial)
    model.float().to(memory_format=torch.contiguous_format).train()
    normalisations = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in normalisations:
        module.momentum = momentum
    with torch.no_grad():
        for x in passes:
            model(x)
    for module in normalisations:
        module.momentum = 0.1
    return {key: value.clone() for key, value in model.state_dict().items()}


def resolution(model, state, images):
    """How far PyTorch's own fp32 logits are from float64's, per spread, and the spread per deviation of the logits."""
    def logits(dtype, layout):
        model.load_state_dict(state)
        with torch.no_grad():
            return model.to(dtype).to(memory_format=layout).eval()(images.to(dtype).to(memory_format=layout)).double()
    exact = logits(torch.float64, torch.contiguous_format)
    spread = exact.var(0, unbiased=False).mean().sqrt()
    off = max((logits(torch.float32, layout) - exact).abs().max() for layout in (torch.contiguous_format, torch.channels_last))
    return (off / spread).item(), (spread / exact.std()).item()


def export(directory, name):
    torch.manual_seed(1)
    model = make(name)
    set_dropout(model, 0)
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    passes = [smooth_images(BATCH) for _ in range(STATISTICS_STEPS)]
    images, labels = smooth_images(BATCH), torch.arange(BATCH) * 37 + 5
    choices = {}
    for momentum in MOMENTA:
        state = moved(model, initial, passes, momentum)
        off, spread = resolution(model, state, images)
        if spread > 0.1:
            choices[off] = momentum, spread, state
    off = min(choices)
    momentum, spread, state = choices[off]
    print(f"{name}: momentum {momentum}; PyTorch's fp32 logits are {off:.1e} of the spread off, the spread is {spread:.2f} of "
          "the logits", file=sys.stderr, flush=True)
    model.to(memory_format=torch.contiguous_format)
    logits, loss, g64 = step(model, state, torch.float64, images, labels)
    norm = sum(g.square().sum() for g in g64.values())
    errors = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model.float().to(memory_format=layout)
        _, _, g32 = step(model, state, torch.float32, images.to(memory_format=layout), labels)
        errors.append((sum((g32[key] - g64[key]).square().sum() for key in g64) / norm).sqrt().item())
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, directory / "weights.safetensors")
    save_file({key: g.float().contiguous() for key, g in g64.items()}, directory / "gradients.safetensors")
    save_file({"images": images.permute(0, 2, 3, 1).contiguous(), "labels": labels.int(), "logits": logits.float(),
               "loss": loss.float().view(1), "float32_errors": torch.tensor(errors)}, directory / "samples.safetensors")


def verify(directory, name):
    """What dtrain saved loads with strict=True, is bit for bit what was exported, and gives dtrain's logits."""
    model, saved = make(name), load_file(directory / "model.safetensors")
    model.load_state_dict(saved, strict=True)
    exported = load_file(directory / "weights.safetensors")
    assert all(torch.equal(saved[key], value) for key, value in exported.items()), "weights changed on the way"
    samples, ours = load_file(directory / "samples.safetensors"), load_file(directory / "dtrain_logits.safetensors")["logits"]
    with torch.no_grad():
        logits = model.eval()(samples["images"].permute(0, 3, 1, 2))
    spread = samples["logits"].double().numpy().var(0).mean() ** 0.5
    off = (logits - ours).abs().max().item() / spread
    assert off < 1e-4, f"{name}: logits are off by {off} of the spread"
    print(f"{name}: strict=True loads {len(saved)} tensors, the same bits; logits within {off:.1e}")


if __name__ == "__main__":
    command, directory, name = sys.argv[1:]
    {"export": export, "verify": verify}[command](pathlib.Path(directory) / name, name)
