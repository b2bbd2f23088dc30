#pragma once
#include <stddef.h>

/// The activations that a convolution or a linear layer can apply to its own output. The derivative of each is a
/// function of the output alone, so the input need not be kept.
typedef enum {
    DT_IDENTITY = 0,
    DT_RELU = 1,
    DT_TANH = 2,
    DT_SIGMOID = 3,
    DT_LEAKY_RELU = 4,
} dt_activation;

/// y[p][c] = f(y[p][c] + bias[c]) for `pixels` pixels of `channels` channels, `stride` floats apart. `bias` may be null.
void dt_bias_activation(float *y, size_t pixels, size_t channels, size_t stride, const float *bias,
                        dt_activation activation, float slope);

/// The way back: gradient[p][c] *= f'(y[p][c]) in place, and bias_gradient[c] += the sum over p (when not null).
void dt_bias_activation_backward(float *gradient, size_t gradient_stride, const float *y, size_t y_stride,
                                 size_t pixels, size_t channels, float *bias_gradient, dt_activation activation,
                                 float slope);

/// y[i] = f(x[i]); x and y may be the same.
void dt_activation_forward(const float *x, float *y, size_t count, dt_activation activation, float slope);

/// dx[i] (+)= dy[i] f'(y[i]); adds when `accumulate` is not 0.
void dt_activation_backward(const float *y, const float *dy, float *dx, size_t count, dt_activation activation,
                            float slope, int accumulate);

/// y[p][c] = f(y[p][c] · scale[c] + shift[c] (+ residual[p][c])): what is left of a batch-norm that is folded into the
/// convolution before it. Pixels of y are `stride` floats apart, those of `residual` (or null) are dense.
void dt_scale_shift_activation(float *y, size_t pixels, size_t channels, size_t stride, const float *scale,
                               const float *shift, const float *residual, dt_activation activation, float slope);
