#!/usr/bin/env python3
"""Makes the parity fixtures: what PyTorch computes for the four seed models, for `ModelParityTests` to compare with.

  pip install torch==2.13.0+cpu numpy safetensors --index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple
  python make_fixtures.py MNIST_DIRECTORY          (holding t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz)

Written beside this script:
  digits.safetensors        `images` F32 [80, 1, 28, 28], normalised with mean 0.1307 and deviation 0.3081; `labels` I32 [80].
                            Batch k holds the digits 8k ..< 8k + 8.
  MODEL.safetensors         `logits` F32 [8, 10] and `loss` F32 [1] of batch 0 before any step (cross-entropy, mean over samples),
                            `losses` F32 [10]: the loss of batch k before step k, for ten steps of SGD (`HYPERPARAMETERS`).
                            For every parameter NAME (PyTorch's shape and order):
                              gradient.NAME   its gradient of `loss`;
                              update.NAME     its value after the ten steps minus its initial value.
                            A tensor of more than FULL_LIMIT elements is stored in pieces instead, as a matrix of [shape[0], rest]:
                              ….sample        SAMPLE_COUNT elements, at (k × SAMPLE_STRIDE) mod count for k = 0, 1, …
                              ….row_sums, ….column_sums   (every element shows in one of each)
                              ….largest       F32 [1], the largest magnitude.

Initial weights are not stored: both sides compute them. Element i (PyTorch's order) of the parameter number p (PyTorch's order) is
(2u − 1) × b, with u = word 0 of Philox4x32-10 (key = SEED; counter = i, p, 1) >> 8, times 2⁻²⁴, and b = 1/√(fan in): the range of
PyTorch's default initialisation, of biases too.

Everything is computed in float64 from fp32 weights and digits and rounded to fp32 at the end, because that is closer to the truth
than PyTorch's fp32; the fp32 results are computed as well, must agree (`check`), and their differences are stored in the metadata.
"""
import gzip, json, pathlib, sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file

SEED = 20260
BATCH, STEPS = 8, 10
FULL_LIMIT, SAMPLE_COUNT, SAMPLE_STRIDE = 16_384, 2_048, 7_919
HYPERPARAMETERS = dict(lr=0.01, momentum=0.9, weight_decay=1e-4)
HERE = pathlib.Path(__file__).parent


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 512), nn.Linear(512, 256), nn.Linear(256, 10)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x.flatten(1))))))


class CNNMNIST(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5), nn.Linear(320, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        return self.fc(x.flatten(1))


class Inception(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.branch1x1 = nn.Conv2d(channels, 16, 1)
        self.branch5x5_1, self.branch5x5_2 = nn.Conv2d(channels, 16, 1), nn.Conv2d(16, 24, 5, padding=2)
        self.branch3x3_1 = nn.Conv2d(channels, 16, 1)
        self.branch3x3_2, self.branch3x3_3 = nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1)
        self.branch_pool = nn.Conv2d(channels, 24, 1)

    def forward(self, x):
        branch1x1 = self.branch1x1(x)
        branch5x5 = self.branch5x5_2(self.branch5x5_1(x))
        branch3x3 = self.branch3x3_3(self.branch3x3_2(self.branch3x3_1(x)))
        branch_pool = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        return torch.cat([branch1x1, branch5x5, branch3x3, branch_pool], 1)


class InceptionMNIST(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.incep1 = nn.Conv2d(1, 10, 5), Inception(10)
        self.conv2, self.incep2 = nn.Conv2d(88, 20, 5), Inception(20)
        self.fc = nn.Linear(1408, 10)

    def forward(self, x):
        x = self.incep1(F.relu(F.max_pool2d(self.conv1(x), 2)))
        x = self.incep2(F.relu(F.max_pool2d(self.conv2(x), 2)))
        return self.fc(x.flatten(1))


MODELS = {"mlp": MLP, "lenet5": LeNet5, "cnn-mnist": CNNMNIST, "inception-mnist": InceptionMNIST}


def philox_word0(index, stream, purpose, seed):
    """Word 0 of Philox4x32-10 for each counter in `index` (uint64), as `CounterRandom.words`."""
    low = np.uint64(0xFFFFFFFF)
    c = [index & low, index >> np.uint64(32), np.full_like(index, stream), np.full_like(index, purpose)]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(second >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), second & low,
             (first >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), first & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[0]


def initialise(model):
    parameters = dict(model.named_parameters())
    for number, (name, parameter) in enumerate(parameters.items()):
        weight = parameters[name.rsplit(".", 1)[0] + ".weight"]
        bound = np.float32(1 / np.sqrt(np.float64(weight[0].numel())))
        word = philox_word0(np.arange(parameter.numel(), dtype=np.uint64), number, 1, SEED)
        unit = (word >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
        values = (np.float32(2) * unit - np.float32(1)) * bound
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values).view_as(parameter))


def run(make, dtype, images, labels):
    """All results of one model, computed in `dtype`, as float64 arrays."""
    torch.set_default_dtype(torch.float32)
    model = make()
    initialise(model)
    model = model.to(dtype)
    images = images.to(dtype)
    initial = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), **HYPERPARAMETERS)
    results, losses = {}, []
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        logits = model(images[batch])
        loss = F.cross_entropy(logits, labels[batch])
        loss.backward()
        if step == 0:
            results["logits"], results["loss"] = logits.detach(), loss.detach().view(1)
            results |= {"gradient." + name: p.grad.clone() for name, p in model.named_parameters()}
        losses.append(loss.item())
        optimizer.step()
    results["losses"] = torch.tensor(losses, dtype=torch.float64)
    results |= {"update." + name: p.detach() - initial[name] for name, p in model.named_parameters()}
    return {name: tensor.double().numpy() for name, tensor in results.items()}


def check(model, exact, single):
    """The largest difference between float64 and fp32 in each kind of result, relative to the tensor's largest magnitude.

    Updates may be off by what ten fp32 additions to a weight below 1 / 2 round away, however small the update is.
    """
    worst = {}
    for name in exact:
        kind, largest = name.split(".")[0], np.abs(exact[name]).max()
        difference = np.abs(exact[name] - single[name]).max()
        allowed = 1e-5 * largest + (STEPS * 2**-25 if kind == "update" else 0)
        assert difference < allowed, f"{model} {name}: fp32 is off by {difference}"
        worst[kind] = max(worst.get(kind, 0), float(difference / largest))
    return {kind: f"{difference:.2e}" for kind, difference in worst.items()}


def pieces(name, tensor):
    if tensor.size <= FULL_LIMIT:
        return {name: tensor}
    matrix = tensor.reshape(tensor.shape[0], -1)
    positions = np.arange(SAMPLE_COUNT) * SAMPLE_STRIDE % tensor.size
    return {name + ".sample": tensor.reshape(-1)[positions], name + ".row_sums": matrix.sum(1), name + ".column_sums": matrix.sum(0),
            name + ".largest": np.abs(tensor).max().reshape(1)}


def read_digits(directory, count):
    pixels = gzip.open(directory / "t10k-images-idx3-ubyte.gz").read()[16:16 + count * 784]
    labels = gzip.open(directory / "t10k-labels-idx1-ubyte.gz").read()[8:8 + count]
    images = np.frombuffer(pixels, np.uint8).reshape(count, 1, 28, 28).astype(np.float32) / np.float32(255)
    return (images - np.float32(0.1307)) / np.float32(0.3081), np.frombuffer(labels, np.uint8).astype(np.int32)


def main():
    torch.set_num_threads(1)
    images, labels = read_digits(pathlib.Path(sys.argv[1]), BATCH * STEPS)
    save_file({"images": images, "labels": labels}, HERE / "digits.safetensors", {"source": "the first 80 MNIST test digits"})
    images, labels = torch.from_numpy(images), torch.from_numpy(labels).long()
    for model, make in MODELS.items():
        exact, single = run(make, torch.float64, images, labels), run(make, torch.float32, images, labels)
        differences = check(model, exact, single)
        tensors = {}
        for name, tensor in exact.items():
            tensors |= pieces(name, tensor)
        description = {"torch": torch.__version__, "seed": SEED, "hyperparameters": HYPERPARAMETERS,
                       "relative_difference_of_fp32": differences}
        metadata = {"description": json.dumps(description)}  # one entry: the writer's order of several is not reproducible
        tensors = {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
        save_file(tensors, HERE / f"{model}.safetensors", metadata)
        print(model, "float64 against fp32:", differences, f"loss {exact['losses'][0]:.6f} … {exact['losses'][-1]:.6f}")


if __name__ == "__main__":
    main()
