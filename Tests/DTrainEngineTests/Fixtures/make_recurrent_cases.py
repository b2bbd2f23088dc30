#!/usr/bin/env python3
"""PyTorch's results for the recurrent layers, in double precision: recurrent_cases.json.

Every token of a batch is a row of its own in an embedding, so the embedding's gradient is that of the layer's input.
Parameters follow a formula, so the file holds results alone. Sequences are packed, the longest first.

  make_recurrent_cases.py > recurrent_cases.json
"""
import json, math, sys
import torch, torch.nn as nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

torch.set_default_dtype(torch.float64)
CLASSES = 3
LAYERS = {"rnn": (nn.RNN, {}), "relu": (nn.RNN, {"nonlinearity": "relu"}), "lstm": (nn.LSTM, {}), "gru": (nn.GRU, {})}
CELLS = {"rnn": (nn.RNNCell, {}), "relu": (nn.RNNCell, {"nonlinearity": "relu"}), "lstm": (nn.LSTMCell, {}), "gru": (nn.GRUCell, {})}


def formula(name, count):
    seed = sum(name.encode()) % 97
    return torch.tensor([0.5 * math.sin(0.37 * seed + 1.7 * i + 0.013 * i * i) for i in range(count)])


class Probe(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.case = case
        kind, options = (CELLS if case["use"] == "cell" else LAYERS)[case["cell"]]
        self.embedding = nn.Embedding(sum(case["lengths"]), case["features"])
        if case["use"] == "cell":
            self.layer = kind(case["features"], case["hidden"], bias=case["bias"], **options)
            self.head = nn.Linear(case["hidden"], CLASSES)
            return
        self.layer = kind(case["features"], case["hidden"], case["layers"], bias=case["bias"], batch_first=True,
                          bidirectional=case["bidirectional"], **options)
        directions = 2 if case["bidirectional"] else 1
        count = case["layers"] * directions
        states = 2 if case["cell"] == "lstm" else 1
        if case["use"] == "initial":
            self.initial = nn.ModuleList(nn.Linear(case["features"], case["hidden"]) for _ in range(count * states))
        if case["use"] == "decoder":
            self.decoder = kind(directions * case["hidden"], case["hidden"], case["layers"], bias=case["bias"],
                                batch_first=True, bidirectional=case["bidirectional"], **options)
        width = states * count if case["use"] == "states" else directions
        self.head = nn.Linear(width * case["hidden"], CLASSES)

    def forward(self):
        case, lengths = self.case, self.case["lengths"]
        packed = pack_padded_sequence(torch.zeros(len(lengths), lengths[0], 1), lengths, batch_first=True)
        x = PackedSequence(self.embedding(torch.arange(sum(lengths))), packed.batch_sizes)
        if case["use"] == "cell":
            steps = pad_packed_sequence(x, batch_first=True)[0]
            state, outputs = None, []
            for t in range(lengths[0]):
                state = self.layer(steps[:, t], state)
                outputs.append(state[0] if case["cell"] == "lstm" else state)
            return self.head(torch.cat(outputs))
        initial = None
        if case["use"] == "initial":
            first = pad_packed_sequence(x, batch_first=True)[0][:, 0]
            states = torch.stack([layer(first) for layer in self.initial])
            initial = tuple(states.chunk(2)) if case["cell"] == "lstm" else states
        y, final = self.layer(x, initial)
        if case["use"] == "decoder":
            y, final = self.decoder(y, final)
        if case["use"] == "states":
            final = torch.cat(final) if case["cell"] == "lstm" else final
            return self.head(torch.cat(list(final), 1))
        return self.head(y.data)


def run(case):
    model = Probe(case)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(formula(name, parameter.numel()).view_as(parameter))
    logits = model()
    labels = torch.tensor([(3 * i + 1) % CLASSES for i in range(len(logits))])
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    loss.backward()
    rounded = lambda tensor: [float(f"{value:.8g}") for value in tensor.flatten().tolist()]
    return case | {"logits": rounded(logits), "loss": loss.item(),
                   "gradients": {name: rounded(p.grad) for name, p in model.named_parameters()}}


def case(cell, use, lengths, features=3, hidden=4, layers=1, bidirectional=False, bias=True):
    return dict(cell=cell, use=use, lengths=lengths, features=features, hidden=hidden, layers=layers,
                bidirectional=bidirectional, bias=bias)


cases = []
for cell in LAYERS:
    cases += [
        case(cell, "outputs", [1]),
        case(cell, "outputs", [3, 3, 3]),
        case(cell, "outputs", [5, 3, 3, 1], hidden=5, layers=2, bidirectional=True),
        case(cell, "outputs", [7], features=1, hidden=7, bias=False),
        case(cell, "states", [4, 2, 1], hidden=3, layers=2, bidirectional=True),
        case(cell, "states", [6, 6, 5, 2, 2], hidden=6),
        case(cell, "initial", [4, 4, 1], hidden=5, bidirectional=True),
        case(cell, "initial", [3, 2], features=2, hidden=3, layers=3),
        case(cell, "decoder", [6, 2, 1], hidden=4, layers=2),
        case(cell, "cell", [4, 4]),
        case(cell, "cell", [3, 3, 3], bias=False),
    ]
# Wider than one panel of the products.
cases += [case(cell, "outputs", [4, 3, 3], features=2, hidden=hidden) for cell, hidden in (("lstm", 17), ("gru", 35), ("rnn", 67))]
cases.append(case("gru", "decoder", [3, 2], features=2, hidden=18, bidirectional=True))

json.dump([run(c) for c in cases], sys.stdout, separators=(",", ":"))
