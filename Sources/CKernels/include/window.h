#pragma once
#include <stddef.h>
#include <stdint.h>
#include "elements.h"

/// A window that slides over a channels-last image: the geometry of convolution and pooling.
typedef struct {
    size_t height, width;               ///< of the input, in pixels
    size_t output_height, output_width;
    size_t kernel_height, kernel_width;
    size_t stride_height, stride_width;
    size_t padding_height, padding_width;
    size_t dilation_height, dilation_width;
} dt_window;

/// Unfolds windows into rows for a matrix product.
///
/// `lines` output lines are written, beginning with line `first_line`, counted over all images (image = line /
/// output_height). Each output pixel gives one row of kernel_height × kernel_width × channels floats. `x` points at the
/// first channel wanted of image 0, pixels are `pixel_stride` floats apart; positions in the padding give zeros.
/// `rows` needs room for DT_UNFOLD_SLACK floats more than it is given.
#define DT_UNFOLD_SLACK 8
void dt_unfold(const float *x, size_t pixel_stride, size_t channels, dt_window window, size_t first_line,
               size_t lines, float *rows);

/// The transpose of `dt_unfold`: adds every element of the rows to the position it came from.
void dt_fold_add(const float *rows, size_t channels, dt_window window, size_t first_line, size_t lines, float *x,
                 size_t pixel_stride);

/// Maximum over each window of `images` images; padding never wins. Output pixels are `y_stride` elements apart. `winner` gets
/// the position in the window (row by row) of the first maximum, for the way back. With `relu` not 0 the output is
/// max(0, maximum), and a window without a maximum above 0 has no winner.
void dt_max_pool_forward(dt_elements x, size_t images, size_t channels, dt_window window, int relu, dt_elements y,
                         size_t y_stride, uint8_t *winner);

/// dx[winner] (+)= dy. All of `dx` is set, or added to when `accumulate` is not 0.
void dt_max_pool_backward(dt_elements dy, size_t dy_stride, const uint8_t *winner, size_t images, size_t channels,
                          dt_window window, dt_elements dx, int accumulate);

/// Mean over each window. The divisor counts the positions in the padding where `counts_padding` is not 0 (PyTorch's
/// count_include_pad); what the last window of PyTorch's ceil mode has beyond the padding never counts.
void dt_average_pool_forward(dt_elements x, size_t images, size_t channels, dt_window window, int counts_padding,
                             dt_elements y, size_t y_stride);

/// dx (+)= dy / divisor for every position of the window. All of `dx` is set, or added to when `accumulate` is not 0.
void dt_average_pool_backward(dt_elements dy, size_t dy_stride, size_t images, size_t channels, dt_window window,
                              int counts_padding, dt_elements dx, int accumulate);
