#pragma once
#include <stddef.h>

/// Every stride-th pixel of an image, with channels of zeros appended: output height and width are the input's divided by
/// the strides, rounded up.
typedef struct {
    size_t height, width, channels;               ///< of the input
    size_t stride_height, stride_width;
    size_t output_channels;                       ///< at least `channels`
} dt_subsampling;

/// Output pixels are `y_stride` floats apart.
void dt_subsample_forward(const float *x, size_t images, dt_subsampling s, float *y, size_t y_stride);

/// All of `dx` is set (zero where no output pixel was taken), or added to when `accumulate` is not 0.
void dt_subsample_backward(const float *dy, size_t dy_stride, size_t images, dt_subsampling s, float *dx,
                           int accumulate);
