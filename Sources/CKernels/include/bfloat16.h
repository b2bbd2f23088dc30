#pragma once
#include <stddef.h>
#include <stdint.h>

// bfloat16 is the upper half of a float: its range, with 8 significant bits instead of 24. Rounding goes to the nearest
// value, ties to the even one; infinities and NaN stay what they are.

/// rounded[i] = bf16(values[i]); residual[i] becomes what rounding left out.
void dt_bf16_round(const float *values, float *residual, uint16_t *rounded, size_t count);

/// rounded[i] = bf16(parts[i] + parts[stride + i] + …), added as floats in the order of the `part_count` parts;
/// residual[i] += what rounding left out. `rounded` may not be one of the parts.
void dt_bf16_sum(const uint16_t *parts, size_t part_count, size_t stride, float *residual, uint16_t *rounded,
                 size_t count);

/// Rounds `rows` runs of `count` floats, `from_stride` floats apart, to runs that are `to_stride` apart.
void dt_bf16_round_rows(const float *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows, size_t count);

/// The way back, exactly.
void dt_bf16_widen_rows(const uint16_t *from, size_t from_stride, float *to, size_t to_stride, size_t rows, size_t count);

/// Copies `rows` runs of `count` elements, or adds them to those of `to` and rounds.
void dt_bf16_copy_rows(const uint16_t *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows,
                       size_t count, int accumulate);

/// y = ReLU(y) for `rows` runs of `count` elements, `stride` apart.
void dt_bf16_relu(uint16_t *y, size_t rows, size_t count, size_t stride);

/// The way back: gradient[p][c] = 0 where ReLU let nothing pass (if `relu` is not 0), and bias_gradient[c] += the sum over p
/// (when not null).
void dt_bf16_bias_relu_backward(uint16_t *gradient, size_t gradient_stride, const uint16_t *y, size_t y_stride, size_t rows,
                                size_t count, float *bias_gradient, int relu);
