#!/usr/bin/env python3
"""Makes batch_norm_cases.json: batch normalisation and mixed labels as PyTorch computes them in float64, in the format that make_operation_cases.py describes.

  pip install torch==2.13.0+cpu --index-url https://download.pytorch.org/whl/cpu
  python make_batch_norm_cases.py

Beside the usual tensors, `running_mean` and `running_var` are the buffers before the step, `running_mean_after`, `running_var_after` and `tracked_after` those
after it, and `evaluated` is the output in evaluation mode with the buffers after the step.
"""
import json, pathlib
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(5)
torch.set_default_dtype(torch.float64)
cases = []


def channels_last(t):
    return t.movedim(1, -1) if t.dim() > 2 else t


def record(name, operation, settings, tensors):
    cases.append({"name": name, "operation": operation, "settings": settings,
                  "tensors": {k: {"shape": list(t.shape), "values": [round(v, 12) for v in t.double().flatten().tolist()]} for k, t in tensors.items()}})


def batch_norm(name, shape, epsilon, momentum, affine, steps=1):
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1], epsilon, momentum, affine)
    layer.running_mean.copy_(torch.randn(shape[1]))
    layer.running_var.copy_(torch.rand(shape[1]) + 0.5)
    before = {"running_mean": layer.running_mean.clone(), "running_var": layer.running_var.clone()}
    if affine:
        nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    x = (torch.randn(shape) * 2 + 3 * torch.randn(1, shape[1], *[1] * (len(shape) - 2))).requires_grad_()
    for _ in range(steps):
        layer.zero_grad()
        x.grad = None
        y = layer(x)
        gradient = torch.randn_like(y)
        y.backward(gradient)
    tensors = {"x": channels_last(x.detach()), "y": channels_last(y.detach()), "outputGradient": channels_last(gradient), "dx": channels_last(x.grad)} | before
    if affine:
        tensors |= {"weight": layer.weight.detach(), "bias": layer.bias.detach(), "dweight": layer.weight.grad, "dbias": layer.bias.grad}
    tensors |= {"running_mean_after": layer.running_mean, "running_var_after": layer.running_var, "tracked_after": layer.num_batches_tracked.view(1)}
    layer.eval()
    tensors["evaluated"] = channels_last(layer(x).detach())
    settings = {"epsilon": [epsilon], "momentum": [-1 if momentum is None else momentum], "steps": [steps]}
    record(name, "batch_norm", settings, tensors)


batch_norm("images", (3, 5, 4, 3), 1e-5, 0.1, True)
batch_norm("images without weights, three steps", (2, 3, 2, 5), 1e-3, 0.3, False, steps=3)
batch_norm("features, averaged over two steps", (6, 7), 1e-5, None, True, steps=2)
batch_norm("a sequence", (2, 4, 5), 1e-2, 0.25, True)

# Mixed labels: the loss of mixup, with smoothing.
x, labels, partners = torch.randn(5, 4) * 3, torch.tensor([0, 3, 2, 2, 1]), torch.tensor([1, 3, 0, 1, 2])
weights = torch.tensor([1, 0.3, 0, 0.75, 0.5])
x.requires_grad_()
loss = (weights * F.cross_entropy(x, labels, label_smoothing=0.1, reduction="none") + (1 - weights) * F.cross_entropy(x, partners, label_smoothing=0.1, reduction="none")).sum()
loss.backward()
record("smoothed", "mixed_cross_entropy", {"smoothing": [0.1]},
       {"x": x.detach(), "labels": labels, "partners": partners, "weights": weights, "y": loss.detach(), "dx": x.grad})

path = pathlib.Path(__file__).parent / "batch_norm_cases.json"
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases,", path.stat().st_size, "bytes")
