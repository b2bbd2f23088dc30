#!/usr/bin/env python3
"""What PyTorch computes for the models for CIFAR and MNIST, written here independently, for `SmallModelParityTests`.

  pip install torch==2.13.0+cpu torchvision==0.28.0 numpy safetensors
  python make_small_models.py

Weights and images come from `formulas.py`. Writes small_models.safetensors beside this script, for every MODEL:
  MODEL.logits F32 [BATCH, 10], in evaluation; MODEL.loss F32 [1], in training mode without dropout;
  MODEL.gradient.NAME  the elements (k × 7919) mod count, k = 0 … 255 (all of a tensor with at most 256), of each gradient;
  MODEL.largest.NAME   F32 [1], the whole gradient's largest magnitude;
  MODEL.first          F32 [1], the number of the first image.
Everything is computed in float64 from fp32 weights; fp32 must agree within half of what the tests allow. The first image is
chosen among CANDIDATES so that no ReLU and no pooling is decided by rounding, as one of a deep network's many easily is.
"""
import pathlib
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file
from formulas import check, fill, gradient_scales, images, labels, margin, torchvision

BATCH, CANDIDATES = 2, range(0, 40, 2)


def conv3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class CIFARBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.stride, self.added, self.shortcut = stride, outputs - inputs, shortcut

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut:
            y = y + F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.added))
        return F.relu(y)


class CIFARResNet(nn.Module):
    def __init__(self, depth, shortcut=True):
        super().__init__()
        n = (depth - 2) // 6
        self.conv1, self.bn1 = conv3(3, 16), nn.BatchNorm2d(16)
        widths = [16, 16, 32, 64]
        for stage in (1, 2, 3):
            layers = [CIFARBlock(widths[stage - (i == 0)], widths[stage], 2 if stage > 1 and i == 0 else 1, shortcut)
                      for i in range(n)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


class CNNCIFAR(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.pool, self.conv2 = nn.Conv2d(3, 6, 5), nn.MaxPool2d(2, 2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv2(self.pool(F.relu(self.conv1(x))))))
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class MNISTBlock(nn.Module):
    """A block of "Identity Mappings in Deep Residual Networks"; `kind` is dtrain's name of it."""

    def __init__(self, channels, kind):
        super().__init__()
        self.kind = kind
        self.conv1, self.bn1 = conv3(channels, channels), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv3(channels, channels), nn.BatchNorm2d(channels)
        if kind.endswith("gating"):
            self.gate = nn.Conv2d(channels, channels, 1)
        if kind == "convolution-shortcut":
            self.shortcut = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x):
        kind = self.kind
        if kind == "full-pre-activation":
            return x + self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        y = self.conv1(F.relu(x) if kind == "relu-only-pre-activation" else x)
        y = self.conv2(F.relu(self.bn1(y)))
        if kind == "batch-norm-after-addition":
            return F.relu(self.bn2(y + x))
        y = self.bn2(y)
        if kind == "relu-before-addition":
            return x + F.relu(y)
        if kind == "relu-only-pre-activation":
            return x + y
        if kind == "constant-scaling":
            x, y = x * 0.5, y * 0.5
        if kind.endswith("gating"):
            gate = torch.sigmoid(self.gate(x))
            x, y = x * (1 - gate), y * gate if kind == "exclusive-gating" else y
        if kind == "convolution-shortcut":
            x = self.shortcut(x)
        return F.relu(x + y)                                       # "original" and, without dropout, "dropout-shortcut"


class ResNetMNIST(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.conv1, self.rblock1 = nn.Conv2d(1, 16, 5), MNISTBlock(16, kind)
        self.conv2, self.rblock2 = nn.Conv2d(16, 32, 5), MNISTBlock(32, kind)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = self.rblock1(F.max_pool2d(F.relu(self.conv1(x)), 2))
        x = self.rblock2(F.max_pool2d(F.relu(self.conv2(x)), 2))
        return self.fc(x.flatten(1))


def resnet18_cifar():
    model = torchvision().models.resnet18(num_classes=10)
    model.conv1, model.maxpool = conv3(3, 64), nn.Identity()
    return model


BLOCKS = ["original", "batch-norm-after-addition", "relu-before-addition", "relu-only-pre-activation", "full-pre-activation",
          "constant-scaling", "exclusive-gating", "shortcut-only-gating", "convolution-shortcut", "dropout-shortcut"]
MODELS = {"resnet20": lambda: CIFARResNet(20), "plain20": lambda: CIFARResNet(20, shortcut=False),
          "resnet18-cifar": resnet18_cifar, "cnn-cifar": CNNCIFAR}
MODELS |= {f"resnet-mnist.{kind}": lambda kind=kind: ResNetMNIST(kind) for kind in BLOCKS}


def samples(name, first):
    size, channels = (28, 1) if "mnist" in name else (16, 3) if name == "resnet18-cifar" else (32, 3)
    return images(BATCH, size, channels, first), labels(BATCH, 10, first)


def run(model, dtype, x, y):
    fill(model.float())
    model.to(dtype).zero_grad()
    with torch.no_grad():
        logits = model.eval()(x.to(dtype))
    loss = F.cross_entropy(model.train()(x.to(dtype)), y)
    loss.backward()
    gradients = {name: parameter.grad.double().flatten().numpy() for name, parameter in model.named_parameters()}
    return logits.double().numpy(), loss.item(), gradients


def sample(gradient):
    return gradient[np.arange(256) * 7919 % gradient.size] if gradient.size > 256 else gradient


def main():
    tensors = {}
    for name, make in MODELS.items():
        model = make()
        fill(model)
        margins = {first: margin(model, samples(name, first)[0]) for first in CANDIDATES}
        first = max(margins, key=margins.get)
        x, y = samples(name, first)
        (single, single_loss, g32), (logits, loss, g64) = run(model, torch.float32, x, y), run(model, torch.float64, x, y)
        scales = {"logits": np.sqrt(logits.var(0).mean()), "loss": loss} | gradient_scales(g64)
        check({"logits": logits, "loss": loss} | g64, {"logits": single, "loss": single_loss} | g32, scales,
              f"{name:40} first {first:2}, margin {margins[first]:.1e}, loss {loss:7.4f}")
        tensors |= {f"{name}.logits": logits, f"{name}.loss": np.array([loss]), f"{name}.first": np.array([first])}
        for key, gradient in g64.items():
            tensors[f"{name}.gradient.{key}"] = sample(gradient)
            tensors[f"{name}.largest.{key}"] = np.abs(gradient).max().reshape(1)
    save_file({key: np.ascontiguousarray(value, np.float32) for key, value in tensors.items()},
              pathlib.Path(__file__).with_name("small_models.safetensors"), {"batch": str(BATCH)})


if __name__ == "__main__":
    main()
