#!/usr/bin/env python3
"""Makes the MNIST sample that dtrain embeds (for developers; building and running dtrain needs no Python).

    scripts/make-mnist-sample.py MNIST_DIR

Takes the first 10,000 training and the first 2,000 test digits of the four official IDX files (plain or gzip) in
MNIST_DIR and writes them as gzip IDX files into Sources/CSamples/data. The same input gives the same bytes.
"""
import gzip
import pathlib
import struct
import sys

TARGET = pathlib.Path(__file__).resolve().parent.parent / "Sources/CSamples/data"
SPLITS = {"train": 10_000, "t10k": 2_000}


def read(directory: pathlib.Path, name: str) -> bytes:
    plain, compressed = directory / name, directory / f"{name}.gz"
    if plain.exists():
        return plain.read_bytes()
    if compressed.exists():
        return gzip.decompress(compressed.read_bytes())
    sys.exit(f"cannot find {plain} or {compressed}")


def first(data: bytes, rank: int, count: int) -> bytes:
    """The first `count` samples of an IDX file of unsigned bytes with `rank` dimensions."""
    magic, available, *tail = struct.unpack(f">{1 + rank}I", data[: 4 * (1 + rank)])
    if magic != 0x800 + rank or available < count:
        sys.exit(f"not the expected IDX file: magic {magic:#010x}, {available} samples")
    size = 1
    for extent in tail:
        size *= extent
    header = 4 * (1 + rank)
    return struct.pack(f">{1 + rank}I", magic, count, *tail) + data[header : header + count * size]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    TARGET.mkdir(parents=True, exist_ok=True)
    for prefix, count in SPLITS.items():
        for name, rank in ((f"{prefix}-images-idx3-ubyte", 3), (f"{prefix}-labels-idx1-ubyte", 1)):
            part = first(read(directory, name), rank, count)
            target = TARGET / f"{name}.gz"
            target.write_bytes(gzip.compress(part, compresslevel=9, mtime=0))
            print(f"{target}: {len(part)} bytes, {target.stat().st_size} compressed")


if __name__ == "__main__":
    main()
