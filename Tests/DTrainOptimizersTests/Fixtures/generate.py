"""Prints PyTorchLiterals.swift: what torch.optim and torch.optim.lr_scheduler give (PyTorch 2.13, CPU), and for LARS and
LAMB, which PyTorch lacks, what their formulas give in double precision.

    python generate.py > ../PyTorchLiterals.swift && swift format -i ../PyTorchLiterals.swift
"""
import warnings
import numpy as np
import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler, CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR, PolynomialLR, ReduceLROnPlateau, SequentialLR,
    StepLR)

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
    "rmsProp": lambda p: torch.optim.RMSprop(p, lr=1, alpha=0.9, eps=1e-4, weight_decay=0.03),
    "rmsPropMomentum": lambda p: torch.optim.RMSprop(p, lr=1, alpha=0.9, eps=1e-4, momentum=0.6, weight_decay=0.03),
    "rmsPropCentered": lambda p: torch.optim.RMSprop(p, lr=1, alpha=0.9, eps=1e-3, centered=True, weight_decay=0.03),
    "rmsPropEverything": lambda p: torch.optim.RMSprop(
        p, lr=1, alpha=0.8, eps=1e-3, momentum=0.5, centered=True, weight_decay=0.03),
    "rmsPropDefaults": lambda p: torch.optim.RMSprop(p, lr=1),
    "adagrad": lambda p: torch.optim.Adagrad(
        p, lr=1, lr_decay=0.1, initial_accumulator_value=0.2, eps=1e-4, weight_decay=0.03),
    "adagradDefaults": lambda p: torch.optim.Adagrad(p, lr=1),
}
for name, optimizer_of in CASES.items():
    p, state, _ = run(optimizer_of)
    print(f"    static let {name}: [Float] = {floats(p)}")
    for key in ("momentum_buffer", "exp_avg", "exp_avg_sq", "square_avg", "grad_avg", "sum"):
        if key in state and state[key] is not None:
            swift = "".join(w.capitalize() for w in key.split("_"))
            print(f"    static let {name}{swift}: [Float] = {floats(state[key])}")
p, _, norms = run(CASES["momentum"], clip=1.5)
print(f"    static let clipped: [Float] = {floats(p)}")
print(f"    static let norms: [Float] = {floats(norms)}")


# Exponential moving averages of the weights (torch.optim.swa_utils), over the same ten updates.
def averages(decay_of):
    p = torch.nn.Parameter(start())
    optimizer = torch.optim.SGD([p], lr=1, momentum=0.8)
    module = torch.nn.Module()
    module.p = p
    steps = iter(range(1, STEPS))
    average = torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=lambda a, b, n: torch.optim.swa_utils.get_ema_multi_avg_fn(decay_of(next(steps)))(a, b, n))
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate(step)
        p.grad = gradient(step) / SAMPLES
        optimizer.step()
        average.update_parameters(module)
    return average.module.p.detach()


print(f"    static let average: [Float] = {floats(averages(lambda t: 0.7))}")
print(f"    static let averageWarmedUp: [Float] = {floats(averages(lambda t: min(0.5, (1 + t) / (10 + t))))}")


# LARS and LAMB in double precision: two weights of different lengths, one of zeros, and a bias.
SIZES = [11, 7, 5, 3]


def layered_start(k, i):
    return 0.0 if k == 2 else (i * 37 % 101 - 50) / 64 * (1 + 3 * k)


def layered_gradient(k, i, step):
    return (i * 53 + step * 29 + 17 * k) % 97 / 8 - 6


def lars(momentum, nesterov, trust_coefficient, epsilon, weight_decay, decay_bias=True):
    p = [np.array([layered_start(k, i) for i in range(n)]) for k, n in enumerate(SIZES)]
    b = [np.zeros(n) for n in SIZES]
    for step in range(STEPS):
        for k, n in enumerate(SIZES):
            g = np.array([layered_gradient(k, i, step) for i in range(n)]) / SAMPLES
            trust, decay = 1.0, weight_decay
            if k < 3:
                length, slope = np.linalg.norm(p[k]), np.linalg.norm(g)
                if length > 0 and slope > 0:
                    trust = trust_coefficient * length / (slope + weight_decay * length + epsilon)
            elif not decay_bias:
                decay = 0
            g = trust * (g + decay * p[k])
            b[k] = momentum * b[k] + g
            p[k] = p[k] - 20 * rate(step) * (g + momentum * b[k] if nesterov else b[k])
    return np.concatenate(p)


def lamb(beta1, beta2, epsilon, weight_decay, decay_bias=True):
    p = [np.array([layered_start(k, i) for i in range(n)]) for k, n in enumerate(SIZES)]
    m, v = [np.zeros(n) for n in SIZES], [np.zeros(n) for n in SIZES]
    for step in range(STEPS):
        for k, n in enumerate(SIZES):
            g = np.array([layered_gradient(k, i, step) for i in range(n)]) / SAMPLES
            m[k] = beta1 * m[k] + (1 - beta1) * g
            v[k] = beta2 * v[k] + (1 - beta2) * g ** 2
            direction = m[k] / (1 - beta1 ** (step + 1)) / (np.sqrt(v[k] / (1 - beta2 ** (step + 1))) + epsilon)
            r = direction + (weight_decay if k < 3 or decay_bias else 0) * p[k]
            length, slope = np.linalg.norm(p[k]), np.linalg.norm(r)
            trust = length / slope if k < 3 and length > 0 and slope > 0 else 1.0
            p[k] = p[k] - rate(step) * trust * r
    return np.concatenate(p)


LAYERED = {
    "lars": lars(0.8, False, 0.02, 1e-3, 0.03),
    "larsNesterov": lars(0.8, True, 0.02, 1e-3, 0.03, decay_bias=False),
    "larsPlain": lars(0, False, 0.02, 1e-3, 0.03),
    "larsDefaults": lars(0.9, False, 0.001, 1e-8, 0),
    "lamb": lamb(0.8, 0.95, 1e-3, 0.3),
    "lambWeights": lamb(0.8, 0.95, 1e-3, 0.3, decay_bias=False),
    "lambDefaults": lamb(0.9, 0.999, 1e-6, 0.01),
}
for name, values in LAYERED.items():
    print(f"    static let {name}: [Float] = {floats(values)}")

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
    "polynomial": lambda o: PolynomialLR(o, TOTAL, power=1.7),
    "polynomialWarmup": lambda o: SequentialLR(o, [warm(o), PolynomialLR(o, TOTAL - WARMUP, power=0.8)], [WARMUP]),
    "oneCycle": lambda o: OneCycleLR(o, 0.2, TOTAL, cycle_momentum=False),
    "oneCycleOther": lambda o: OneCycleLR(
        o, 0.2, TOTAL, pct_start=0.62, div_factor=7, final_div_factor=30, cycle_momentum=False),
    "oneCycleFalling": lambda o: OneCycleLR(o, 0.2, TOTAL, pct_start=0.0, cycle_momentum=False),
    "cosineWarmup": lambda o: SequentialLR(o, [warm(o), CosineAnnealingLR(o, TOTAL - WARMUP)], [WARMUP]),
}
for name, scheduler_of in SCHEDULES.items():
    print(f"    static let {name}Rates: [Double] = {floats(rates(scheduler_of))}")


# What evaluations decide: a falling value that stalls, jumps, creeps and falls again; larger is better for its negative.
VALUES = [2.3, 1.9, 1.95, 1.9, 1.8995, 1.899, 1.91, 1.7, 1.72, 1.71, 1.705, 1.704, 1.69, 1.695, 1.6899, 1.6898, 1.8, 1.75,
          1.74, 1.6897, 1.6, 1.61, 1.62, 1.63, 1.64, 1.65, 1.5, 1.55, 1.54, 1.53]


def plateau(sign=1, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, mode="min" if sign == 1 else "max", min_lr=0, eps=0, **options)
    values = []
    for value in VALUES:
        scheduler.step(sign * value + (3 if sign < 0 else 0))
        values.append(optimizer.param_groups[0]["lr"])
    return values


def first_reduction(sign, evaluations, delta):  # where early stopping ends: the 1-based number of the evaluation
    factors = plateau(sign, factor=0.5, patience=evaluations - 1, threshold=delta, threshold_mode="abs")
    return next((i + 1 for i, f in enumerate(factors) if f < 1), 0)


print(f"    static let evaluations: [Double] = {floats(VALUES)}")
PLATEAUS = {
    "plateau": dict(factor=0.3, patience=2),
    "plateauCooldown": dict(factor=0.3, patience=1, threshold=1e-2, cooldown=3),
    "plateauImpatient": dict(factor=0.5, patience=0, threshold=0),
    "plateauLarger": dict(sign=-1, factor=0.3, patience=2, threshold=1e-3, cooldown=1),
    "plateauDefaults": dict(),
}
for name, options in PLATEAUS.items():
    print(f"    static let {name}Factors: [Double] = {floats(plateau(**options))}")
print("    /// patience, minimum delta, whether larger is better, the number of the evaluation that ends the run (0: none).")
print("    static let ends: [(Int, Double, Bool, Int)] = [")
for sign, evaluations, delta in [(1, 1, 0), (1, 3, 0), (1, 4, 0), (1, 5, 0), (1, 6, 0), (1, 4, 0.01), (1, 6, 0.02),
                                 (-1, 4, 0.01), (-1, 5, 0), (1, 9, 0.05), (1, 20, 0)]:
    print(f"        ({evaluations}, {float(delta)}, {str(sign < 0).lower()}, {first_reduction(sign, evaluations, delta)}),")
print("    ]")
print("}")
