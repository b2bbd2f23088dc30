#pragma once
#include <stddef.h>
#include <stdint.h>

// bfloat16 is the upper half of a float: its range, with 8 significant bits instead of 24. Rounding goes to the nearest
// value, ties to the even one; infinities and NaN stay what they are.

/// rounded[i] = bf16(values[i] + residual[i]); residual[i] becomes what rounding left out.
void dt_bf16_round(const float *values, float *residual, uint16_t *rounded, size_t count);

/// rounded[i] = bf16(parts[i] + parts[stride + i] + …), added as floats in the order of the `part_count` parts;
/// residual[i] += what rounding left out. `rounded` may not be one of the parts.
void dt_bf16_sum(const uint16_t *parts, size_t part_count, size_t stride, float *residual, uint16_t *rounded,
                 size_t count);

/// to[i] = from[i], exactly.
void dt_bf16_widen(const uint16_t *from, float *to, size_t count);

/// Rounds `rows` runs of `count` floats, `from_stride` floats apart. The runs lie together in `to`.
void dt_bf16_round_rows(const float *from, size_t from_stride, uint16_t *to, size_t rows, size_t count);
