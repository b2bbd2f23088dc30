#pragma once
#include <stddef.h>

/// Softmax of each row: y[i] = e^(x[i] − m) / Σ e^(x[j] − m) with m the largest x of the row. x and y may
/// be the same.
void dt_softmax_forward(const float *x, size_t rows, size_t count, float *y);

/// dx[i] (+)= y[i] (dy[i] − Σ dy[j] y[j]); dx and dy may be the same.
void dt_softmax_backward(const float *y, const float *dy, size_t rows, size_t count, float *dx,
                         int accumulate);
