#!/usr/bin/env python3
"""By how much bf16 changes gradients in PyTorch, for `StepTests` to compare with.

  pip install torch==2.13.0+cpu torchvision==0.28.0 numpy
  python bf16_errors.py

For each model, with weights and four images of 64×64 pixels by formula (`formulas.py`), without dropout and auxiliary
classifiers, in training mode: the relative error of the loss under autocast to bf16, and the norm of what it changes of the
gradient over all parameters, in units of the norm of the fp32 gradient.
"""
import torch
import torch.nn.functional as F
from formulas import fill, images, set_dropout, torchvision
from make_torchvision import branch_end

for name in ("resnet18", "resnet50", "resnext50_32x4d", "googlenet", "densenet121", "alexnet"):
    options = dict(aux_logits=False, init_weights=False) if name == "googlenet" else {}
    model = getattr(torchvision().models, name)(num_classes=10, **options)
    set_dropout(model, 0)
    fill(model, branch_end(name))
    model.train()
    x, y = images(4, 64), torch.arange(4) * 7 % 10
    losses, gradients = [], []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = F.cross_entropy(model(x).float(), y)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    print(f"{name:16} loss {abs(losses[1] / losses[0] - 1):.4f}  gradient {error.item():.3f}", flush=True)
