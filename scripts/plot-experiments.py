#!/usr/bin/env python3
"""Draws the experiments of docs/experiments as SVG (for developers; Python's standard library is enough).

    scripts/plot-experiments.py RUNS [OUT]

RUNS holds run directories, each named after its recipe (RUNS/resnet20/metrics.jsonl) or, for the residual blocks,
block-NAME, and for hello after its model. OUT, default docs/experiments, gets the pictures. Training losses are means of 50 steps. A curve of a run that
has not finished says in the legend how far it goes. Colours and grey text are readable on white and on dark pages; the
background is transparent.
"""
import json
import math
import pathlib
import sys
from xml.sax.saxutils import escape

HOME = pathlib.Path(__file__).resolve().parent.parent / "docs/experiments"
SMOOTHING = 50  # steps
COLOURS = ["#2f81f7", "#d9822b", "#2da44e", "#c05bd6"]
TEXT = "#7d8590"
BLOCKS = [
    "original", "batch-norm-after-addition", "relu-before-addition", "relu-only-pre-activation",
    "full-pre-activation", "constant-scaling", "exclusive-gating", "shortcut-only-gating", "convolution-shortcut",
    "dropout-shortcut",
]


class Run:
    def __init__(self, runs: pathlib.Path, name: str):
        path = runs / name / "metrics.jsonl"
        try:
            events = [json.loads(line) for line in path.read_text().splitlines()]
        except OSError as error:
            sys.exit(f"cannot read {path}: {error.strerror}; train it first: dtrain train --recipe {name}")
        start = next(event for event in events if event["event"] == "start")
        per_epoch = start["steps_per_epoch"]
        steps = [event for event in events if event["event"] == "step"]
        self.path = path
        self.finished = any(event["event"] == "finished" for event in events)
        self.progress = f"{len(steps) / per_epoch:.1f} of {start['total_steps'] / per_epoch:g} epochs"
        windows = [steps[first : first + SMOOTHING] for first in range(0, len(steps), SMOOTHING)]
        # (epochs, loss) at the middle of each window.
        self.loss = [
            ((window[0]["step"] - 1 + window[-1]["step"]) / 2 / per_epoch, mean(step["loss"] for step in window))
            for window in windows
        ]
        # The same of each step.
        self.step_loss = [(step["step"] / per_epoch, step["loss"]) for step in steps]
        # (epochs, per cent) after each epoch.
        self.accuracy = [
            (event["step"] / per_epoch, 100 * event["correct"] / event["samples"])
            for event in events
            if event["event"] == "eval"
        ]


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that enclose low and high."""
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(step - raw))
    return [index * step for index in range(math.floor(low / step), math.ceil(high / step) + 1)]


class Picture:
    def __init__(self, width: int, height: int, title: str):
        self.size = width, height
        self.parts = [f"<title>{escape(title)}</title>"]

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str | None = None, width: float = 1) -> None:
        """Without a colour a faint line, for a grid."""
        stroke = f'stroke="{colour or TEXT}"' + ("" if colour else ' stroke-opacity="0.3"')
        self.parts.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" {stroke} stroke-width="{width}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "middle", bold: bool = False, turn: bool = False) -> None:
        more = (' font-weight="bold"' if bold else "") + (f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else "")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>')

    def curve(self, points: list[tuple[float, float]], colour: str, dots: bool) -> None:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>')
        if dots:
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>')

    def write(self, path: pathlib.Path) -> None:
        width, height = self.size
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{TEXT}">\n'
            + "\n".join(self.parts) + "\n</svg>\n")
        print(f"{path}: {path.stat().st_size:,} bytes")


PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, BELOW = 300, 200, 56, 30, 72


def panel(picture: Picture, x: float, title: str, unit: str, curves: dict[str, list], dots: bool) -> None:
    """One diagram over epochs, its left side at `x`."""
    left, bottom = x + LEFT, TOP + PANEL_HEIGHT
    values = [value for points in curves.values() for _, value in points]
    marks = ticks(min(values), max(values))
    last = math.ceil(max(epoch for points in curves.values() for epoch, _ in points))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        epoch, value = point
        return (left + epoch / last * PANEL_WIDTH,
                bottom - (value - marks[0]) / (marks[-1] - marks[0]) * PANEL_HEIGHT)

    picture.text(left + PANEL_WIDTH / 2, TOP - 12, title, bold=True)
    picture.text(x + 12, TOP + PANEL_HEIGHT / 2, unit, turn=True)
    picture.text(left + PANEL_WIDTH / 2, bottom + 34, "epoch")
    for mark in marks:
        y = place((0, mark))[1]
        picture.line(left, y, left + PANEL_WIDTH, y)
        picture.text(left - 7, y + 4, f"{mark:g}" if abs(mark) >= 1e-9 else "0", "end")
    for epoch in range(0, last + 1, 1 if last <= 6 else 2 if last <= 20 else last // 6):
        at = place((epoch, marks[0]))[0]
        picture.line(at, bottom, at, bottom + 4, TEXT)
        picture.text(at, bottom + 17, str(epoch))
    picture.line(left, bottom, left + PANEL_WIDTH, bottom, TEXT)
    for colour, points in zip(COLOURS, curves.values()):
        picture.curve([place(point) for point in points], colour, dots)


def over_epochs(runs: pathlib.Path, names: dict[str, str], title: str) -> Picture:
    """Training loss and test accuracy of the runs `names` (directory → label)."""
    loaded = {}
    for name, label in names.items():
        run = Run(runs, name)
        loaded[label if run.finished else f"{label} ({run.progress})"] = run
    width = 2 * (LEFT + PANEL_WIDTH) + 40
    picture = Picture(width, TOP + PANEL_HEIGHT + BELOW, title)
    panel(picture, 0, f"training loss (mean of {SMOOTHING} steps)", "loss",
          {label: run.loss for label, run in loaded.items()}, dots=False)
    panel(picture, LEFT + PANEL_WIDTH + 20, "test accuracy after each epoch", "per cent",
          {label: run.accuracy for label, run in loaded.items()}, dots=True)
    legend(picture, list(loaded), width)
    return picture


def legend(picture: Picture, labels: list[str], width: float) -> None:
    y, lengths = TOP + PANEL_HEIGHT + 58, [40 + 7 * len(label) for label in labels]
    x = (width - sum(lengths)) / 2
    for colour, label, length in zip(COLOURS, labels, lengths):
        picture.line(x, y - 4, x + 18, y - 4, colour, 3)
        picture.text(x + 24, y, label, "start")
        x += length


def losses(runs: pathlib.Path, names: list[str], title: str) -> Picture:
    """The training loss of each step, of runs whose epoch is one step."""
    width = LEFT + PANEL_WIDTH + 120
    picture = Picture(width, TOP + PANEL_HEIGHT + BELOW, title)
    panel(picture, 40, "training loss of each step", "loss", {name: Run(runs, name).step_loss for name in names},
          dots=False)
    legend(picture, names, width)
    return picture


def bars(rows: list[tuple[str, float, str]], title: str, unit: str) -> Picture:
    """Horizontal bars from zero: (label, value, colour)."""
    left, top, step, width = 190, 34, 24, 440
    picture = Picture(left + width + 60, top + step * len(rows) + 44, title)
    marks = ticks(0, max(value for _, value, _ in rows))
    scale, bottom = width / marks[-1], top + step * len(rows) + 4
    picture.text(left + width / 2, top - 16, title, bold=True)
    for mark in marks:
        picture.line(left + mark * scale, top - 4, left + mark * scale, bottom)
        picture.text(left + mark * scale, bottom + 16, f"{mark:g}")
    picture.text(left + width / 2, bottom + 34, unit)
    for index, (label, value, colour) in enumerate(rows):
        y = top + index * step
        picture.bar(left, y, value * scale, step - 8, colour)
        picture.text(left - 8, y + 12, label, "end")
        picture.text(left + value * scale + 6, y + 12, f"{value:.2f}", "start")
    picture.line(left, top - 4, left, bottom, TEXT)
    return picture


def main() -> None:
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    runs = pathlib.Path(sys.argv[1])
    out = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else HOME
    out.mkdir(parents=True, exist_ok=True)

    def final(name: str) -> float:
        run = Run(runs, name)
        if not run.finished:
            sys.exit(f"{run.path}: only {run.progress} done; go on with dtrain train --resume auto --out {runs / name}")
        return run.accuracy[-1][1]

    bars(
        [("fully connected", final("digits-fc"), COLOURS[0]), ("convolutional", final("digits-conv"), COLOURS[1]),
         ("fully connected, permuted", final("digits-fc-permuted"), COLOURS[0]),
         ("convolutional, permuted", final("digits-conv-permuted"), COLOURS[1])],
        "MNIST, four epochs, pixels in place and permuted", "test accuracy, per cent").write(out / "digits.svg")
    errors = sorted((100 - final(f"block-{block}"), block) for block in BLOCKS)
    bars(
        [(block, error, COLOURS[1 if block == "original" else 0]) for error, block in errors],
        "residual blocks on MNIST, two epochs", "test error, per cent").write(out / "residual-blocks.svg")
    losses(
        runs, ["rnn-hello-cell", "rnn-hello", "rnn-hello-embedding"], "hello in three ways").write(out / "hello.svg")
    over_epochs(runs, {"surnames": "surnames"}, "surnames").write(out / "surnames.svg")
    over_epochs(runs, {"shakespeare": "shakespeare"}, "char-lstm on Shakespeare").write(out / "shakespeare.svg")
    over_epochs(runs, {"inception-mnist": "inception-mnist"}, "inception-mnist").write(out / "inception-mnist.svg")
    over_epochs(runs, {"cnn-cifar": "cnn-cifar"}, "cnn-cifar on CIFAR-10").write(out / "cnn-cifar.svg")
    over_epochs(
        runs, {name: name for name in ("plain20", "plain56", "resnet20", "resnet56")},
        "degradation: plain and residual networks on CIFAR-10").write(out / "degradation.svg")
    over_epochs(
        runs,
        {"transfer-all": "all layers", "transfer-head": "the head alone", "transfer-scratch": "from scratch"},
        "transfer learning from eight classes of CIFAR-10 to two").write(out / "transfer.svg")


if __name__ == "__main__":
    main()
