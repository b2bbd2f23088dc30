"""Prints PyTorchLiterals.swift: what torch.optim and torch.optim.lr_scheduler give (PyTorch 2.13, CPU).

    python generate.py > ../PyTorchLiterals.swift && swift format -i ../PyTorchLiterals.swift
"""
import warnings
import torch
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR, StepLR

warnings.simplefilter("ignore")
COUNT, STEPS, SAMPLES = 11, 10, 12


def start():
    return torch.tensor([((i * 37) % 101 - 50) / 64 for i in range(COUNT)])


def gradient(step):  # a sum over SAMPLES samples; exact in fp32
    return torch.tensor([((i * 53 + step * 29) % 97 - 48) / 8 for i in range(COUNT)])


def rate(step):
    return 0.05 / (1 + 0.5 * step)


def run(optimizer_of, clip=None):
    p = torch.nn.Parameter(start())
    optimizer = optimizer_of([p])
    norms = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        p.grad = gradient(step) / SAMPLES
        if clip is not None:
            norms.append(torch.nn.utils.clip_grad_norm_([p], clip).item())
        optimizer.step()
    return p.detach(), optimizer.state[p], norms


def floats(values):
    return "[\n        " + ",\n        ".join(
        ", ".join(repr(float(v)) for v in values[i:i + 5]) for i in range(0, len(values), 5)) + ",\n    ]"


print("// Written by Fixtures/generate.py.\n")
print("/// Parameters, state and rates that PyTorch gives.\nenum PyTorchLiterals {")
CASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1, weight_decay=0.03),
    "momentum": lambda p: torch.optim.SGD(p, lr=1, momentum=0.8, weight_decay=0.03),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1, momentum=0.8, weight_decay=0.03, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.03),
    "adamW": lambda p: torch.optim.AdamW(p, lr=1, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.3),
    "adamDefaults": lambda p: torch.optim.Adam(p, lr=1),
    "adamWDefaults": lambda p: torch.optim.AdamW(p, lr=1),
}
for name, optimizer_of in CASES.items():
    p, state, _ = run(optimizer_of)
    print(f"    static let {name}: [Float] = {floats(p)}")
    for key in ("momentum_buffer", "exp_avg", "exp_avg_sq"):
        if key in state and state[key] is not None:
            swift = "".join(w.capitalize() for w in key.split("_"))
            print(f"    static let {name}{swift}: [Float] = {floats(state[key])}")
p, _, norms = run(CASES["momentum"], clip=1.5)
print(f"    static let clipped: [Float] = {floats(p)}")
print(f"    static let norms: [Float] = {floats(norms)}")

PER_EPOCH, TOTAL, WARMUP = 4, 40, 6


def rates(scheduler_of):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = scheduler_of(optimizer)
    values = []
    for _ in range(TOTAL):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def warm(optimizer):
    return LinearLR(optimizer, start_factor=1 / WARMUP, total_iters=WARMUP - 1)


SCHEDULES = {
    "warmup": warm,
    "step": lambda o: StepLR(o, 3 * PER_EPOCH, 0.3),
    "stepWarmup": lambda o: ChainedScheduler([warm(o), StepLR(o, 3 * PER_EPOCH, 0.3)]),
    "multistep": lambda o: MultiStepLR(o, [2 * PER_EPOCH, 7 * PER_EPOCH], 0.3),
    "cosine": lambda o: CosineAnnealingLR(o, TOTAL),
    "cosineWarmup": lambda o: SequentialLR(o, [warm(o), CosineAnnealingLR(o, TOTAL - WARMUP)], [WARMUP]),
}
for name, scheduler_of in SCHEDULES.items():
    print(f"    static let {name}Rates: [Double] = {floats(rates(scheduler_of))}")
print("}")
