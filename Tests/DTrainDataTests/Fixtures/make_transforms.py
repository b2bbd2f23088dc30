#!/usr/bin/env python3
"""Writes transforms.images and transforms.checksums: what torchvision's transforms (on Pillow images) make of patterns.

transforms.images: records of one line, `NAME HEIGHT WIDTH CHANNELS`, followed by that many bytes.
transforms.checksums: lines `NAME CRC32` of results that are too many or too large to be kept.
The patterns are computed, here by `pattern` and in the tests by a function of that name.

  make_transforms.py [FOLDER]        needs Pillow, torch, torchvision
"""
import pathlib, sys, zlib
import numpy as np
import torch
from PIL import Image, __version__ as pillow_version

# Lets a torchvision that was built for CUDA import beside a torch without it.
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms", "roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
             "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward",
             "_cuda_version"):
    try:
        library.define(name + "(Tensor a) -> Tensor")
    except Exception:
        pass
from torchvision.transforms import InterpolationMode, functional as F
from torchvision.transforms.autoaugment import TrivialAugmentWide, _apply_op

folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
images = open(folder / "transforms.images", "wb")
checksums = open(folder / "transforms.checksums", "w")


def pattern(height, width, channels, low=0, high=255):
    """A slope with noise, squeezed into low ... high."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    h = (((y * width + x) * channels + c) * 2654435761 + 12345) & 0xFFFFFFFF
    h ^= h >> 15
    h = h * 2246822519 & 0xFFFFFFFF
    h ^= h >> 13
    value = np.minimum(255, x * 100 // width + y * 60 // height + c * 15 + (h & 127))
    value = low + value * (high - low) // 255
    return image(value.astype(np.uint8))


def image(array):
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def array(result):
    values = np.asarray(result)
    return values[:, :, None] if values.ndim == 2 else values


def record(name, result):
    values = array(result)
    images.write(f"{name} {values.shape[0]} {values.shape[1]} {values.shape[2]}\n".encode() + values.tobytes())


def checksum(name, result):
    checksums.write(f"{name} {zlib.crc32(array(result).tobytes()):08x}\n")


def resize(picture, height, width):
    return F.resize(picture, [height, width], InterpolationMode.BILINEAR)


for channels in (1, 3):
    for height, width, to in ((37, 53, ((16, 24), (60, 64), (37, 20), (18, 53), (37, 53))), (200, 150, ((20, 31),)),
                              (1, 1, ((5, 7),)), (5, 4, ((1, 1),)), (300, 7, ((2, 9),)), (9, 300, ((11, 3),))):
        for new_height, new_width in to:
            record(f"resize-{height}x{width}x{channels}-{new_height}x{new_width}",
                   resize(pattern(height, width, channels), new_height, new_width))
    checksum(f"resize-1100x900x{channels}-333x444", resize(pattern(1100, 900, channels), 333, 444))
    checksum(f"resize-1100x900x{channels}-333x700", resize(pattern(1100, 900, channels), 333, 700))
    for top, left, height, width in ((5, 7, 20, 31), (0, 0, 37, 10), (36, 52, 1, 1), (3, 0, 8, 53)):
        record(f"part-{channels}-{top}-{left}-{height}-{width}",
               F.resized_crop(pattern(37, 53, channels), top, left, height, width, [18, 18]))
    for side in (20, 41):
        for height, width in ((37, 53), (53, 37)):
            checksum(f"shorter-{height}x{width}x{channels}-{side}", F.resize(pattern(height, width, channels), side))
    for side in (22, 23, 24, 25, 45, 46, 60, 61):
        checksum(f"center-{channels}-{side}", F.center_crop(pattern(37, 53, channels), [side, side]))
    for degrees in (0, 10, -10, 30, 45, 60, 90, 180, 270, -90, -135, 123.456, 359.9):
        for height, width in ((24, 24), (21, 30)):
            checksum(f"rotate-{height}x{width}x{channels}-{degrees}",
                     F.rotate(pattern(height, width, channels), degrees))
    record(f"rotate-{channels}", F.rotate(pattern(21, 30, channels), 17))
    for low, high in ((0, 255), (60, 140), (77, 77)):
        picture = pattern(20, 24, channels, low, high)
        for factor in (0, 0.3, 1, 1.7, 6.5):
            name = f"{channels}-{low}-{high}-{factor}"
            checksum("brightness-" + name, F.adjust_brightness(picture, factor))
            checksum("contrast-" + name, F.adjust_contrast(picture, factor))
            checksum("saturation-" + name, F.adjust_saturation(picture, factor))
            checksum("sharpness-" + name, F.adjust_sharpness(picture, factor))
    for height, width in ((2, 5), (5, 2), (3, 3)):
        checksum(f"sharpness-{height}x{width}x{channels}", F.adjust_sharpness(pattern(height, width, channels), 1.5))
    for operation, (magnitudes, signed) in TrivialAugmentWide()._augmentation_space(31).items():
        for level in range(31 if magnitudes.ndim else 1):
            strength = float(magnitudes[level] if magnitudes.ndim else magnitudes)
            for sign in (1, -1) if signed else (1,):
                for low, high in ((0, 255), (60, 140)):
                    result = _apply_op(pattern(20, 24, channels, low, high), operation, sign * strength,
                                       InterpolationMode.NEAREST, None)
                    checksum(f"trivial-{operation}-{channels}-{low}-{level}-{sign}", result)
                    if low == 0 and channels == 3 and level in (0, 11):
                        record(f"trivial-{operation}-{level}-{sign}", result)
                # A square, for right angles.
                if operation == "Rotate":
                    checksum(f"trivial-square-{channels}-{level}-{sign}",
                             _apply_op(pattern(22, 22, channels), operation, sign * strength,
                                       InterpolationMode.NEAREST, None))

# Every colour there is: red counts fastest.
codes = np.arange(1 << 24, dtype=np.uint32)
colors = np.stack([codes & 255, codes >> 8 & 255, codes >> 16], -1).astype(np.uint8).reshape(4096, 4096, 3)
for turn in (0.1, -0.37, 0.5, 0.0):
    checksum(f"hue-{turn}", F.adjust_hue(image(colors), turn))
for factor in (0.4, 1.37):
    checksum(f"saturation-{factor}", F.adjust_saturation(image(colors), factor))
print("made with Pillow", pillow_version, "and torch", torch.__version__)
