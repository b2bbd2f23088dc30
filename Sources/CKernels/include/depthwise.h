#pragma once
#include "window.h"

// Convolution where every channel has a kernel of its own and sees itself alone (groups = channels). Weights are
// kernel height × kernel width × channels; lines are output lines counted over all images, as for `dt_unfold`, and `x`, `y`,
// `dy` and `dx` point at image 0. Pixels of the input lie next to each other, those of the output `stride` floats apart.

/// y = x ⋆ weights (+ bias, where not null); y += where `accumulate` is not 0.
void dt_depthwise_forward(const float *x, const float *weights, const float *bias, size_t channels, dt_window window,
                          size_t first_line, size_t lines, float *y, size_t stride, int accumulate);

/// sums += the gradient of the weights over these lines.
void dt_depthwise_weight_gradient(const float *x, const float *dy, size_t stride, size_t channels, dt_window window,
                                  size_t first_line, size_t lines, float *sums);

/// dx += the gradient of the input from these lines.
void dt_depthwise_input_gradient(const float *dy, size_t stride, const float *weights, size_t channels,
                                 dt_window window, size_t first_line, size_t lines, float *dx);
