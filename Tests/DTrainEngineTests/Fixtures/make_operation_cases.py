#!/usr/bin/env python3
"""Makes operation_cases.json: single operations at non-default settings as PyTorch computes them in float64, which prove the oracles.

  pip install torch==2.13.0+cpu --index-url https://download.pytorch.org/whl/cpu
  python make_operation_cases.py

The file is a list of cases {"name", "operation", "settings": {name: [numbers]}, "tensors": {name: {"shape", "values"}}}. Activations
are in dtrain's order (images [N, H, W, C], sequences [N, T, C]), weights in PyTorch's. `outputGradient` is the gradient that
backward starts from, `dNAME` the gradient of the tensor NAME.
"""
import json, pathlib
import torch
import torch.nn.functional as F

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
cases = []


def channels_last(t):
    return t.movedim(1, -1) if t.dim() > 2 else t


def case(name, operation, settings, function, inputs, images=("x", "y"), extra=None):
    """Runs `function(**inputs)`, backpropagates a random gradient, and records all; the tensors named in `images` are transposed."""
    inputs = {key: t.requires_grad_() for key, t in inputs.items()}
    y = function(**inputs)
    gradient = torch.ones(()) if y.dim() == 0 else torch.randn_like(y)
    y.backward(gradient)
    tensors = {"y": y, "outputGradient": gradient} | inputs | {"d" + key: t.grad for key, t in inputs.items()} | (extra or {})
    record = {}
    for key, t in tensors.items():
        image = key in images or key == "outputGradient" and "y" in images or key[0] == "d" and key[1:] in images
        t = channels_last(t.detach()) if image else t.detach()
        record[key] = {"shape": list(t.shape), "values": [round(v, 12) for v in t.double().flatten().tolist()]}
    cases.append({"name": name, "operation": operation, "settings": settings, "tensors": record})


def convolution(name, x, outputs, kernel, stride, padding, dilation, groups, bias):
    rank = len(kernel)
    function = F.conv1d if rank == 1 else F.conv2d
    inputs = {"x": torch.randn(x), "weight": torch.randn(outputs, x[1] // groups, *kernel)} | ({"bias": torch.randn(outputs)} if bias else {})
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": [groups]}
    case(name, f"conv{rank}d", settings, lambda x, weight, bias=None: function(x, weight, bias, stride, padding, dilation, groups), inputs)


def main():
    convolution("every setting", (2, 4, 8, 7), 6, [3, 2], [2, 1], [1, 2], [1, 2], 2, bias=True)
    convolution("depthwise without bias", (1, 3, 5, 6), 3, [2, 3], [1, 2], [0, 1], [2, 1], 3, bias=False)
    convolution("plain", (2, 3, 5, 5), 2, [3, 3], [1, 1], [0, 0], [1, 1], 1, bias=True)
    convolution("dilated", (1, 3, 9, 8), 4, [3, 3], [1, 1], [2, 3], [2, 3], 1, bias=True)
    convolution("groups of two", (2, 6, 5, 5), 9, [3, 3], [2, 2], [1, 1], [1, 1], 3, bias=False)
    convolution("depthwise, stride 2", (2, 5, 7, 6), 5, [3, 3], [2, 2], [1, 1], [1, 1], 5, bias=True)
    convolution("depthwise, two outputs a channel", (1, 3, 5, 4), 6, [3, 2], [1, 1], [2, 1], [2, 1], 3, bias=True)
    convolution("every setting", (2, 4, 11), 6, [3], [2], [3], [2], 2, bias=True)
    convolution("plain", (1, 2, 6), 3, [2], [1], [0], [1], 1, bias=False)

    for name, x, outputs, kernel, stride, padding, more, groups, dilation in [
        ("every setting", (2, 4, 3, 4), 6, [3, 2], [2, 3], [1, 1], [1, 2], 2, [1, 2]), ("plain", (1, 2, 3, 3), 3, [2, 2], [1, 1], [0, 0], [0, 0], 1, [1, 1]),
        ("depthwise", (1, 3, 3, 4), 3, [3, 3], [2, 2], [1, 1], [0, 1], 3, [1, 1]), ("output padding below the dilation", (1, 2, 3, 3), 2, [2, 2], [1, 1], [0, 0], [2, 1], 1, [3, 2])]:
        settings = {"stride": stride, "padding": padding, "outputPadding": more, "dilation": dilation, "groups": [groups]}
        inputs = {"x": torch.randn(x), "weight": torch.randn(x[1], outputs // groups, *kernel), "bias": torch.randn(outputs)}
        case(name, "conv_transpose2d", settings, lambda x, weight, bias: F.conv_transpose2d(x, weight, bias, stride, padding, more, groups, dilation), inputs)

    case("with bias", "linear", {}, F.linear, {"x": torch.randn(3, 5), "weight": torch.randn(4, 5), "bias": torch.randn(4)})
    case("without bias", "linear", {}, F.linear, {"x": torch.randn(1, 5), "weight": torch.randn(2, 5)})

    for name, kernel, stride, padding in [("padded", [3, 2], [2, 3], [1, 1]), ("overlapping", [3, 3], [1, 1], [1, 1]), ("plain", [2, 2], [2, 2], [0, 0])]:
        settings = {"kernel": kernel, "stride": stride, "padding": padding}
        # Shifted below zero, so that padding with zeros instead of −∞ shows.
        case(name, "max_pool2d", settings, lambda x: F.max_pool2d(x, kernel, stride, padding), {"x": torch.randn(2, 3, 7, 6) - 2})
        case(name, "avg_pool2d", settings, lambda x: F.avg_pool2d(x, kernel, stride, padding), {"x": torch.randn(2, 3, 7, 6)})

    for name, kernel, stride, padding, counts in [
        ("beyond the image", [3, 3], [2, 2], [0, 0], True), ("beyond the padding", [3, 2], [2, 3], [1, 1], True),
        ("padding does not count", [3, 3], [2, 2], [1, 1], False), ("one window left out", [2, 2], [3, 4], [1, 1], True)]:
        settings = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": [1], "counts": [int(counts)]}
        case(f"ceil mode, {name}", "max_pool2d", settings, lambda x: F.max_pool2d(x, kernel, stride, padding, ceil_mode=True), {"x": torch.randn(2, 2, 6, 7) - 2})
        case(f"ceil mode, {name}", "avg_pool2d", settings, lambda x: F.avg_pool2d(x, kernel, stride, padding, True, counts), {"x": torch.randn(2, 2, 6, 7)})
    settings = {"kernel": [3, 2], "stride": [1, 2], "padding": [1, 1], "ceil": [0], "counts": [0]}
    case("padding does not count", "avg_pool2d", settings, lambda x: F.avg_pool2d(x, [3, 2], [1, 2], [1, 1], False, False), {"x": torch.randn(1, 2, 4, 5)})
    for size in ([3, 2], [1, 1], [7, 6]):
        case(f"to {size}", "adaptive_avg_pool2d", {"size": size}, lambda x: F.adaptive_avg_pool2d(x, size), {"x": torch.randn(2, 2, 5, 4)})
        case(f"to {size}", "adaptive_max_pool2d", {"size": size}, lambda x: F.adaptive_max_pool2d(x, size), {"x": torch.randn(2, 2, 5, 4)})
    for size, alpha, beta, k in [(5, 1.5, 0.75, 2.0), (4, 2.0, 0.6, 0.5), (9, 1e-4, 0.75, 1.0)]:
        settings = {"size": [size], "alpha": [alpha], "beta": [beta], "k": [k]}
        case(f"size {size}", "local_response_norm", settings, lambda x: F.local_response_norm(x, size, alpha, beta, k), {"x": torch.randn(1, 7, 2, 3) * 2})
    for name, shape, groups in [("images", (2, 6, 3, 2), 3), ("sequences", (2, 4, 5), 2), ("instances", (1, 3, 4, 2), 3)]:
        inputs = {"x": torch.randn(shape) + 2, "weight": torch.randn(shape[1]), "bias": torch.randn(shape[1])}
        case(name, "group_norm", {"groups": [groups], "epsilon": [0.01]}, lambda x, weight, bias: F.group_norm(x, groups, weight, bias, 0.01), inputs)
    inputs = {"x": torch.randn(2, 3, 2, 4) + 2, "weight": torch.randn(3, 2, 4), "bias": torch.randn(3, 2, 4)}
    case("images", "layer_norm", {"whole": [1], "epsilon": [0.01]}, lambda x, weight, bias: F.layer_norm(x, [3, 2, 4], weight, bias, 0.01), inputs)
    inputs = {"x": torch.randn(2, 3, 5) + 2, "weight": torch.randn(5), "bias": torch.randn(5)}
    case("sequences", "layer_norm", {"whole": [0], "epsilon": [0.01]}, lambda x, weight, bias: F.layer_norm(x, [5], weight, bias, 0.01), inputs, images=())
    case("features", "softmax", {}, lambda x: torch.softmax(x, -1), {"x": torch.randn(3, 5) * 3})
    case("images", "softmax", {}, lambda x: torch.softmax(x, 1), {"x": torch.randn(1, 4, 2, 3) * 3})
    for name, (height, width), stride in [("even", (4, 6), 2), ("odd", (5, 7), 2), ("stride 3", (7, 3), 3)]:
        shortcut = lambda x: F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, 2))
        case(name, "zero_padding_shortcut", {"channels": [5], "stride": [stride]}, shortcut, {"x": torch.randn(2, 3, height, width)})
    case("two values", "mul", {}, lambda x, other: x * other, {"x": torch.randn(2, 3), "other": torch.randn(2, 3)})

    with_zero = torch.cat([torch.randn(11), torch.zeros(1)])
    for name, function in [("relu", F.relu), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)]:
        case("with a zero", name, {}, lambda x, f=function: f(x), {"x": with_zero.clone().view(3, 4)})
    case("slope 0.2", "leaky_relu", {"slope": [0.2]}, lambda x: F.leaky_relu(x, 0.2), {"x": with_zero.clone().view(3, 4)})

    case("two values", "add", {}, lambda x, other: x + other, {"x": torch.randn(2, 3), "other": torch.randn(2, 3)})
    parts = {f"x{i}": torch.randn(2, c, 2, 3) for i, c in enumerate([1, 3, 2])}
    case("three images over channels", "concatenation", {}, lambda **x: torch.cat(list(x.values()), 1), parts, images=("x0", "x1", "x2", "y"))
    case("channels first", "flatten", {}, lambda x: x.flatten(1), {"x": torch.randn(2, 3, 2, 4)})

    x = torch.randn(4, 6)
    mask = (F.dropout(torch.ones(4, 6), 0.3) != 0).double()
    case("probability 0.3", "dropout", {"probability": [0.3]}, lambda x: x * mask / 0.7, {"x": x}, extra={"mask": mask})
    torch.manual_seed(11)
    dropped = F.dropout(x.detach(), 0.3)  # the formula above is PyTorch's
    assert torch.allclose(dropped, torch.where(dropped != 0, x.detach() / 0.7, 0))

    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    for smoothing in (0.0, 0.15):
        loss = lambda x: F.cross_entropy(x, labels, label_smoothing=smoothing, reduction="sum")
        case(f"smoothing {smoothing}", "cross_entropy", {"smoothing": [smoothing]}, loss, {"x": torch.randn(6, 5) * 3}, extra={"labels": labels})
    target = torch.randn(3, 4)
    case("sum of squares", "mse", {}, lambda x: F.mse_loss(x, target, reduction="sum"), {"x": torch.randn(3, 4)}, extra={"target": target})

    path = pathlib.Path(__file__).parent / "operation_cases.json"
    path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    print(len(cases), "cases,", path.stat().st_size, "bytes")


main()
