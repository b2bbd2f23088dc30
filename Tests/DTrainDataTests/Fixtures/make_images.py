#!/usr/bin/env python3
"""Writes small JPEG and PNG files of every kind that the decoders know, and what Pillow makes of them: NAME.rgb and
NAME.grey, the pixels of convert("RGB") and convert("L") as a zlib stream.   usage: make_images.py   (needs Pillow and numpy)

16-bit grey is the one exception: Pillow cuts such values at 255, so the expectation is the high byte, as for 16-bit colour.
"""
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

here = pathlib.Path(__file__).parent / "images"
height, width = 37, 53
rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
random = np.random.default_rng(1)


def smooth(phase):
    return 127.5 + 110 * np.sin(columns / 7 + phase) * np.cos(rows / 5 - phase) + random.normal(0, 6, (height, width))


colour = np.stack([smooth(0), smooth(1), smooth(2)], axis=-1).clip(0, 255).astype(np.uint8)
rgb = Image.fromarray(colour)
grey = rgb.convert("L")
alpha = Image.fromarray((columns * 255 // width).astype(np.uint8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, pixels, depth, kind, palette=None, interlaced=False):
    """A PNG file by the book (Pillow writes no interlaced ones and no 16-bit colour): pixels are rows x columns x samples."""
    def packed(image):
        lines = b""
        for line in image:
            samples = line.reshape(-1)
            if depth == 16:
                data = samples.astype(">u2").tobytes()
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in samples)
                bits += "0" * (-len(bits) % 8)
                data = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
            lines += b"\0" + data
        return lines
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    if interlaced:
        data = b"".join(packed(pixels[r::dr, c::dc]) for r, c, dr, dc in passes if pixels[r::dr, c::dc].size)
    else:
        data = packed(pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, kind, 0, 0, int(interlaced))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    if palette is not None:
        out += chunk(b"PLTE", palette.tobytes())
    (here / name).write_bytes(out + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


here.mkdir(exist_ok=True)
rgb.save(here / "baseline-420.jpg", quality=90, subsampling=2)
rgb.save(here / "baseline-422.jpg", quality=90, subsampling=1)
rgb.save(here / "baseline-444.jpg", quality=75, subsampling=0)
rgb.save(here / "progressive.jpg", quality=85, progressive=True, subsampling=2)
grey.save(here / "grey.jpg", quality=90)
rgb.save(here / "rgb.jpg", quality=90, keep_rgb=True, subsampling=0)
rgb.save(here / "restart.jpg", quality=85, restart_marker_rows=1)
turned = Image.Exif()
turned[0x0112] = 6
rgb.save(here / "orientation.jpg", quality=90, exif=turned)
cmyk = Image.fromarray(np.concatenate([255 - colour, (smooth(3) / 3).clip(0, 255).astype(np.uint8)[..., None]], -1), "CMYK")
cmyk.save(here / "cmyk.jpg", quality=90)
# The same data announced as YCCK: the transform flag of the Adobe marker is 2.
data = bytearray((here / "cmyk.jpg").read_bytes())
marker = data.index(b"Adobe")
data[marker + 11] = 2
(here / "ycck.jpg").write_bytes(data)

rgb.save(here / "rgb.png")
grey.save(here / "grey.png")
rgba = rgb.copy()
rgba.putalpha(alpha)
rgba.save(here / "rgba.png")
Image.merge("LA", (grey, alpha)).save(here / "grey-alpha.png")
rgb.quantize(64).save(here / "palette.png")
few = rgb.quantize(6)
few.save(here / "palette-4bit.png", bits=4)
few.save(here / "palette-transparent.png", transparency=2)
grey.point(lambda v: 255 * (v > 127), "1").save(here / "one-bit.png")
rgb.save(here / "transparent-colour.png", transparency=tuple(int(v) for v in colour[3, 4]))
four = np.asarray(grey) // 16
png("grey-2bit.png", four // 4, 2, 0)
png("grey-4bit.png", four, 4, 0)
png("grey-4bit-interlaced.png", four, 4, 0, interlaced=True)
wide = colour.astype(np.uint16) * 256 + random.integers(0, 256, colour.shape).astype(np.uint16)
png("rgb-16bit.png", wide, 16, 2)
png("rgba-16bit.png", np.concatenate([wide, wide[..., :1]], -1), 16, 6)
png("grey-16bit.png", wide[..., 1], 16, 0)
png("grey-alpha-16bit.png", wide[..., :2], 16, 4)
png("rgb-interlaced.png", colour, 8, 2, interlaced=True)
indices = np.asarray(few)
palette = np.array(few.getpalette()[:18], np.uint8)
png("palette-interlaced.png", indices, 4, 3, palette, interlaced=True)

for path in sorted(here.iterdir()):
    if path.suffix not in (".jpg", ".png"):
        continue
    image = Image.open(path)
    if path.name == "grey-16bit.png":
        image = Image.fromarray((wide[..., 1] >> 8).astype(np.uint8))
    for suffix, mode in ((".rgb", "RGB"), (".grey", "L")):
        pixels = np.asarray(image.convert(mode), np.uint8)
        (here / (path.name + suffix)).write_bytes(zlib.compress(pixels.tobytes(), 9))
