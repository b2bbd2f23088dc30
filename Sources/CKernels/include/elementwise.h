#pragma once
#include <stddef.h>

/// to[i] += from[i].
void dt_add_to(float *to, const float *from, size_t count);

/// y[i] = a[i] + b[i].
void dt_add(const float *a, const float *b, float *y, size_t count);

/// y[i] (+)= a[i] · b[i]; adds when `accumulate` is not 0.
void dt_multiply(const float *a, const float *b, float *y, size_t count, int accumulate);

/// y[i] (+)= scale · x[i] + shift; adds when `accumulate` is not 0. x and y may be the same.
void dt_scale_shift(const float *x, float *y, size_t count, float scale, float shift, int accumulate);

/// Copies (or, with `accumulate` not 0, adds) `rows` runs of `count` floats between two strides.
void dt_copy_rows(const float *from, size_t from_stride, float *to, size_t to_stride, size_t rows, size_t count,
                  int accumulate);

/// Transposes `images` matrices: to[c][r] (+)= from[r][c] for rows × columns each.
void dt_transpose(const float *from, float *to, size_t images, size_t rows, size_t columns, int accumulate);
