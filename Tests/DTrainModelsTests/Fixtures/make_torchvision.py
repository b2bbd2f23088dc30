#!/usr/bin/env python3
"""What torchvision's models compute for weights and images by formula (`formulas.py`), for `TorchvisionTests` to compare with.

  pip install torch==2.13.0+cpu torchvision==0.28.0 numpy safetensors
  python make_torchvision.py [MODEL…]          (all models: some minutes and 5 GB of memory)

Writes torchvision.safetensors beside this script. For every model NAME, in float64 from fp32 weights and rounded to fp32:
  NAME.logits          F32 [IMAGES, 1000], in evaluation
  NAME.training_loss   F32 [1], cross-entropy in training mode without dropout; of googlenet with 0.3 times both auxiliary losses
and, as metadata under NAME, "parameters tensors digest": the number of parameters, of tensors in the state dictionary, and the
FNV-1a hash (hexadecimal) of its lines `name 64×3×7×7`, sorted, each ended by a newline; a scalar's shape reads `scalar`.

fp32 results are computed as well; what they differ by is printed, in units of what the test allows (1e-4 of the standard
deviation between images, 1e-4 of the loss), and must stay below a third.
"""
import json, pathlib, sys
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.numpy import save_file
from formulas import fill, fnv1a, images, labels, set_dropout, torchvision

IMAGES, SIZE = 3, 96
FILE = pathlib.Path(__file__).with_name("torchvision.safetensors")
MODELS = (["alexnet"] + [f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")] + ["googlenet"]
          + [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
          + ["resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"]
          + [f"densenet{depth}" for depth in (121, 169, 201)])


def branch_end(name):
    """The last normalisation of a residual branch."""
    return None if "res" not in name else ".bn2.weight" if name in ("resnet18", "resnet34") else ".bn3.weight"


def make(name):
    options = dict(init_weights=False) if name == "googlenet" or name.startswith("vgg") else {}
    return getattr(torchvision().models, name)(**options)


def run(model, dtype):
    x, y = images(IMAGES, SIZE).to(dtype), labels(IMAGES, 1000)
    model.to(dtype)
    with torch.no_grad():
        logits = model.eval()(x)
        outputs = model.train()(x)
        loss = F.cross_entropy(outputs if torch.is_tensor(outputs) else outputs.logits, y)
        if not torch.is_tensor(outputs):
            loss = loss + 0.3 * (F.cross_entropy(outputs.aux_logits1, y) + F.cross_entropy(outputs.aux_logits2, y))
    return logits.double().numpy(), loss.double().numpy().reshape(1)


def describe(model):
    state = model.state_dict()
    shapes = {name: "×".join(map(str, tensor.shape)) or "scalar" for name, tensor in state.items()}
    lines = "".join(f"{name} {shapes[name]}\n" for name in sorted(state))
    return f"{sum(p.numel() for p in model.parameters())} {len(state)} {fnv1a(lines):016x}"


def main():
    names = sys.argv[1:] or MODELS
    tensors, metadata = {}, {}
    if FILE.exists() and sys.argv[1:]:
        with safe_open(FILE, "numpy") as old:
            tensors = {name: old.get_tensor(name) for name in old.keys()}
            metadata = json.loads(old.metadata()["models"])
    for name in names:
        model = make(name)
        set_dropout(model, 0)
        metadata[name] = describe(model)
        results = []
        for dtype in (torch.float32, torch.float64):
            fill(model.float(), branch_end(name))
            results.append(run(model, dtype))
        (single, single_loss), (logits, loss) = results
        spread = np.sqrt(logits.var(0).mean())
        off = np.abs(single - logits).max() / spread / 1e-4, abs(single_loss / loss - 1)[0] / 1e-4
        print(f"{name:18} spread {spread:9.3g} of {logits.std():9.3g}  loss {loss[0]:8.4f}  "
              f"fp32 is off by {off[0]:.3f} and {off[1]:.3f} of what is allowed", flush=True)
        assert max(off) < 1 / 3, name
        tensors |= {f"{name}.logits": logits.astype(np.float32), f"{name}.training_loss": loss.astype(np.float32)}
    ordered = {name: tensors[name] for name in sorted(tensors)}
    save_file(ordered, FILE, {"models": json.dumps(metadata, sort_keys=True)})


if __name__ == "__main__":
    main()
