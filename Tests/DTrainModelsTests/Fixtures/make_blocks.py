#!/usr/bin/env python3
"""What torchvision's blocks compute in training mode at a small size, for `BlockParityTests` to compare with.

  pip install torch==2.13.0+cpu torchvision==0.28.0 numpy safetensors
  python make_blocks.py

Each block stands between a 1×1 convolution `stem` (its gradient is made of the block's input gradient) and a linear layer `fc`
over all of its pixels. Weights and images come from `formulas.py`. Writes blocks.safetensors beside this script, for every BLOCK:
  BLOCK.logits F32 [BATCH, CLASSES]; BLOCK.loss F32 [1], cross-entropy; BLOCK.gradient.NAME for every parameter;
  BLOCK.buffer.NAME for the running statistics after the step; BLOCK.first F32 [1], the number of the first image, which is
  chosen among CANDIDATES so that no ReLU and no pooling is decided by rounding.
Everything is computed in float64 from fp32 weights; fp32 must agree within half of what the tests allow.
"""
import importlib, pathlib
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file
from formulas import check, fill, gradient_scales, images, labels, margin, torchvision

BATCH, SIZE, CHANNELS, CLASSES, CANDIDATES = 4, 11, 8, 5, range(0, 80, 4)


def family(name):
    torchvision()
    return importlib.import_module("torchvision.models." + name)


def downsample(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def bottlenecks(groups):
    Bottleneck = family("resnet").Bottleneck
    return nn.Sequential(Bottleneck(CHANNELS, 4, 2, downsample(CHANNELS, 16, 2), groups=groups), Bottleneck(16, 4, groups=groups))


def blocks():
    densenet, googlenet, resnet, vgg = map(family, ("densenet", "googlenet", "resnet", "vgg"))
    dense = nn.Sequential()
    dense.block = densenet._DenseBlock(3, CHANNELS, bn_size=4, growth_rate=4, drop_rate=0)
    dense.transition = densenet._Transition(20, 10)
    first = vgg.make_layers([12, "M", 16, 16, "M"], batch_norm=True)
    first[0] = nn.Conv2d(CHANNELS, 12, 3, padding=1)
    return {
        "basic": nn.Sequential(resnet.BasicBlock(CHANNELS, 16, 2, downsample(CHANNELS, 16, 2)), resnet.BasicBlock(16, 16)),
        "bottleneck": bottlenecks(groups=1),
        "grouped": bottlenecks(groups=4),
        "dense": dense,
        "inception": googlenet.Inception(CHANNELS, 4, 6, 8, 3, 5, 4),
        "vgg-bn": first,
    }


class Surrounded(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 1, bias=False)
        self.block = block
        features = block(torch.zeros(2, CHANNELS, SIZE, SIZE)).flatten(1).shape[1]
        self.fc = nn.Linear(features, CLASSES)

    def forward(self, x):
        return self.fc(self.block(self.stem(x)).flatten(1))


def run(model, dtype, first):
    fill(model.float())
    model.to(dtype).train().zero_grad()
    logits = model(images(BATCH, SIZE, first=first).to(dtype))
    loss = F.cross_entropy(logits, labels(BATCH, CLASSES, first))
    loss.backward()
    results = {"logits": logits.detach(), "loss": loss.detach().view(1)}
    results |= {"gradient." + name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    results |= {"buffer." + name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}
    return {name: tensor.double().numpy() for name, tensor in results.items()}


def main():
    tensors = {}
    for name, block in blocks().items():
        model = Surrounded(block)
        fill(model)
        margins = {first: margin(model, images(BATCH, SIZE, first=first)) for first in CANDIDATES}
        first = max(margins, key=margins.get)
        single, exact = run(model, torch.float32, first), run(model, torch.float64, first)
        scales = {key: np.abs(value).max() for key, value in exact.items()}
        scales |= gradient_scales({key: value for key, value in exact.items() if key.startswith("gradient.")})
        check(exact, single, scales, f"{name:12} first {first:2}, margin {margins[first]:.1e}")
        tensors |= {f"{name}.{key}": value for key, value in exact.items()} | {f"{name}.first": np.array([first])}
    save_file({key: np.ascontiguousarray(value, np.float32) for key, value in tensors.items()},
              pathlib.Path(__file__).with_name("blocks.safetensors"), {"classes": str(CLASSES)})


if __name__ == "__main__":
    main()
