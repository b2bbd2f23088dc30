#pragma once
#include <stddef.h>
#include <stdint.h>
#include "elements.h"

/// Pooling to a given size: output row o sees the input rows from ⌊o · height / output_height⌋ to
/// ⌈(o + 1) · height / output_height⌉, that one excluded, and columns likewise. Windows may differ by a row and overlap.
typedef struct {
    size_t height, width, output_height, output_width, channels;
} dt_adaptive_window;

// Images and pooled images may be of different kinds.

/// The mean over each window of `images` images; output pixels are `y_stride` elements apart.
void dt_adaptive_average_pool_forward(dt_elements x, size_t images, dt_adaptive_window window, dt_elements y,
                                      size_t y_stride);

/// dx (+)= dy / window size for every pixel of the window. All of `dx` is set, or added to when `accumulate` is not 0.
void dt_adaptive_average_pool_backward(dt_elements dy, size_t dy_stride, size_t images, dt_adaptive_window window,
                                       dt_elements dx, int accumulate);

/// The maximum over each window; `winner` gets the pixel of the image (row by row) that holds the first one.
void dt_adaptive_max_pool_forward(dt_elements x, size_t images, dt_adaptive_window window, dt_elements y,
                                  size_t y_stride, int32_t *winner);

/// dx[winner] (+)= dy. All of `dx` is set, or added to when `accumulate` is not 0.
void dt_adaptive_max_pool_backward(dt_elements dy, size_t dy_stride, const int32_t *winner, size_t images,
                                   dt_adaptive_window window, dt_elements dx, int accumulate);
