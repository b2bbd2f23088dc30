#pragma once
#include <stddef.h>
#include "elements.h"

/// Adds to `sum` and `square` (a double a channel) the sums over `pixels` pixels of x − shift and of its square. With a shift
/// near the mean the variance follows from both without cancellation.
void dt_batch_norm_sums(dt_pixels x, size_t pixels, size_t channels, const float *shift, double *sum,
                        double *square);

/// y[p][c] = x[p][c] · scale[c] + shift[c] (+ residual[p][c]), then ReLU where `relu` is not 0. The residual (or null) is
/// dense; x and y may be the same pixels.
void dt_batch_norm_apply(dt_pixels x, size_t pixels, size_t channels, const float *scale, const float *shift,
                         dt_elements residual, int relu, dt_pixels y);

/// Where ReLU let the normalised value pass: where `y`, its output (elements of the gradient's kind), is above zero; or, with
/// `y` null, where x[c] · scale[c] + shift[c] is. All null: no ReLU.
typedef struct {
    const void *y;
    size_t y_stride;                       ///< elements from one pixel of y to the next
    const float *scale, *shift;
} dt_batch_norm_mask;

/// dz is the gradient that reaches the normalised value: dy where `mask` lets it pass, else zero. Adds Σ dz to `sum` and
/// Σ dz (x − mean) to `product`, a double a channel.
void dt_batch_norm_backward_sums(dt_pixels dy, dt_batch_norm_mask mask, dt_pixels x, size_t pixels, size_t channels,
                                 const float *mean, double *sum, double *product);

/// What dt_batch_norm_backward makes of dz in each channel: dx = scale · (dz − offset − (x − mean) · slope).
typedef struct { const float *scale, *offset, *mean, *slope; } dt_batch_norm_gradient;

/// dx[p][c] (+)= the above, with dz as above; `residual` (dense, or null) gets (+)= dz. A `slope` of null stands for offset = slope =
/// 0: normalisation by constants, where x (read by a mask alone) may be null. dx may be null, or the pixels of
/// dy themselves.
void dt_batch_norm_backward(dt_pixels dy, dt_batch_norm_mask mask, dt_pixels x, size_t pixels, size_t channels,
                            dt_batch_norm_gradient gradient, dt_pixels dx, int accumulate, dt_elements residual,
                            int accumulate_residual);
