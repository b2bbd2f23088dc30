"""Writes python.safetensors with the reference implementation (safetensors 0.8, PyTorch 2.13).

    python generate.py
"""
import torch
from safetensors.torch import save_file

save_file(
    {
        "conv.weight": torch.arange(24, dtype=torch.float32).reshape(3, 2, 2, 2) / 7,
        "half": torch.tensor([1.5, -0.0, 65504.0, 6e-8, 6.1e-5, float("inf"), -2.75], dtype=torch.float16),
        "brain": torch.tensor([[1.5, -3.0], [1e38, 1e-40]], dtype=torch.bfloat16),
        "double": torch.tensor([0.1, -1e300], dtype=torch.float64),
        "bn.num_batches_tracked": torch.tensor(2**40 + 1),
        "labels": torch.tensor([3, -4], dtype=torch.int32),
        "pixels": torch.tensor([0, 7, 255], dtype=torch.uint8),
        "mask": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 4),
        'größe "é"\n\\': torch.tensor([9.0]),
    },
    "python.safetensors",
    metadata={"format": "pt", "note": "tab\there"},
)
