#pragma once
#include <stddef.h>

/// A window that slides over a channels-last image: the geometry of convolution and pooling. Where the image is some lines of
/// another, `padding_height` may have wrapped below zero: only kernels that go through `valid_rows` may be given that.
typedef struct {
    size_t height, width;               ///< of the input, in pixels
    size_t output_height, output_width;
    size_t kernel_height, kernel_width;
    size_t stride_height, stride_width;
    size_t padding_height, padding_width;
    size_t dilation_height, dilation_width;
} dt_window;
