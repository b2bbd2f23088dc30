#pragma once
#include <stddef.h>
#include <stdint.h>

// The two passes of a separable resize of 8-bit images in fixed point. A weight is a whole number of 2^-22; an output is
// the weighted sum of `taps` neighbours, rounded to the nearest byte. All lines and pixels are contiguous.

/// How many fractional bits a weight has: 8 bits of the pixel and two spare ones fill the rest of an int32.
enum { DT_RESIZE_BITS = 22 };

/// Along lines: target[l][x][c] = sum over k of weights[x][k] * source[l][first[x] + k][c]. Source lines are
/// `source_stride` bytes apart, target lines follow each other. May read one byte behind the last source pixel and may
/// write one byte behind the last target pixel.
void dt_resize_lines(const uint8_t *source, size_t source_stride, size_t lines, size_t channels, const int32_t *first,
                     const int32_t *weights, size_t taps, uint8_t *target, size_t target_width);

/// Across lines: target[y][j] = sum over k of weights[y][k] * source[first[y] + k][j] for `bytes` bytes a line.
void dt_resize_columns(const uint8_t *source, size_t source_stride, size_t bytes, const int32_t *first,
                       const int32_t *weights, size_t taps, uint8_t *target, size_t target_lines);
