#!/usr/bin/env python3
"""Compares what exported models compute in onnxruntime with dtrain's own results (for developers).

    scripts/check-onnx.py [MODEL ...]

Needs onnx, onnxruntime, numpy and safetensors, and built tests (scripts/build.sh). Lets a test write small networks, one or
more for each operation, and every model of the zoo (or those named) with random weights: as ONNX, and the outputs for two
random samples. onnx.checker must accept each file, and onnxruntime's outputs must lie within 1e-4 of dtrain's, relative
to the largest difference between the outputs of the two samples.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4


def write(directory: str, models: str | None = None) -> None:
    """Lets the test write files into `directory`: the small networks, or these models of the zoo."""
    environment = dict(os.environ, DTRAIN_ONNX_DIRECTORY=directory)
    if models:
        environment["DTRAIN_ONNX_MODELS"] = models
    command = "swift test -c release --explicit-target-dependency-import-check error --disable-testable-imports --skip-build"
    outcome = subprocess.run(
        command.split() + ["--filter", "DTrainONNXTests.ReferenceFiles"], cwd=ROOT, env=environment,
        capture_output=True, text=True)
    if outcome.returncode != 0:
        sys.exit(outcome.stdout + outcome.stderr)


def check(path: pathlib.Path) -> bool:
    """Compares one file, prints a line, and tells whether all is well."""
    onnx.checker.check_model(str(path), full_check=True)
    reference = load_file(path.with_suffix(".safetensors"))
    expected = reference["output"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    [output] = session.get_outputs()
    result = session.run(["output"], {"input": reference["input"]})[0]
    alone = session.run(["output"], {"input": reference["input"][1:]})[0]
    if output.shape[0] != "batch" or list(result.shape) != [2] + output.shape[1:] or result.shape != expected.shape:
        print(f"{path.stem}: the output is {result.shape}, said to be {output.shape}, and should be {expected.shape}")
        return False
    difference = float(max(numpy.abs(result - expected).max(), numpy.abs(alone - expected[1:]).max()))
    spread = float(numpy.abs(expected[0] - expected[1]).max())
    fine = bool(difference <= TOLERANCE * spread)
    print(
        f"{path.stem:32} {path.stat().st_size / 1e6:8.2f} MB  largest |output| {numpy.abs(expected).max():9.3g}  "
        f"spread {spread:9.3g}  difference {difference:8.2g}, relative {difference / spread:8.2g}"
        + ("" if fine else "  TOO LARGE"), flush=True)
    return fine


def main() -> None:
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        write(directory)
        names = sys.argv[1:] or (folder / "models.txt").read_text().split()
        failed += [path.stem for path in sorted(folder.glob("*.onnx")) if not check(path)]
        for name in names:
            write(directory, name)
            if not check(folder / f"{name}.onnx"):
                failed.append(name)
            # The large ones are half a gigabyte each.
            (folder / f"{name}.onnx").unlink()
    if failed:
        sys.exit("differs: " + ", ".join(failed))


if __name__ == "__main__":
    main()
