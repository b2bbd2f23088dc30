#pragma once
#include <stddef.h>
#include <stdint.h>

/// The bytes of `message` in `dt_png_decode`.
enum { DT_IMAGE_MESSAGE_BYTES = 160 };

/// Decodes the PNG file in `file` into 8-bit pixels, row by row, `channels` = 1 or 3 bytes a pixel.
///
/// `channels` = 1 takes grey images only (with or without alpha); 3 takes all. Palettes and grey of 1, 2 and 4 bits
/// are expanded, of 16 bits the high byte is kept, alpha is dropped. The image must have the announced `width` and
/// `height`; `pixels` has `width` × `height` × `channels` bytes. Returns 0, or 1 with libpng's reason in `message`.
/// libpng leaves an error by longjmp: it never passes this function.
int dt_png_decode(const uint8_t *file, size_t byte_count, size_t width, size_t height, int channels, uint8_t *pixels,
                  char *message);

/// Turns inverted CMYK pixels, as Adobe's JPEG files hold them, into RGB: each channel is round(c · k / 255).
/// `rgb` may begin where `cmyk` does.
void dt_inverted_cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t count);

/// Turns RGB pixels into grey by the luma of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B in units of 2⁻¹⁶, rounded.
/// `grey` may begin where `rgb` does.
void dt_rgb_to_grey(const uint8_t *rgb, uint8_t *grey, size_t count);
