#pragma once
#include <stddef.h>
#include <stdint.h>
#include "elements.h"
#include "window.h"

// Pointers are those of all images; forward passes compute some lines of the output, and backward passes some of the input,
// counted over all images.

/// Maximum over each window; padding never wins. Output pixels are `y_stride` elements apart. `winner` gets the position in the
/// window (row by row) of the first maximum, for the way back. With `relu` not 0 the output is max(0, maximum), and a window
/// without a maximum above 0 has no winner.
void dt_max_pool_forward(dt_elements x, size_t channels, dt_window window, size_t first_line, size_t lines, int relu,
                         dt_elements y, size_t y_stride, uint8_t *winner);

/// The input lines that a backward pass wants together: where windows neither overlap nor leave a pixel out, those of a window.
size_t dt_pool_line_group(dt_window window);

/// dx[winner] (+)= dy. The lines of `dx` are set, or added to when `accumulate` is not 0.
void dt_max_pool_backward(dt_elements dy, size_t dy_stride, const uint8_t *winner, size_t channels, dt_window window,
                          size_t first_line, size_t lines, dt_elements dx, int accumulate);

/// Mean over each window. The divisor counts the positions in the padding where `counts_padding` is not 0 (PyTorch's
/// count_include_pad); what the last window of PyTorch's ceil mode has beyond the padding never counts.
void dt_average_pool_forward(dt_elements x, size_t channels, dt_window window, size_t first_line, size_t lines,
                             int counts_padding, dt_elements y, size_t y_stride);

/// dx (+)= dy / divisor for every position of the window. The lines of `dx` are set, or added to when `accumulate` is not 0.
void dt_average_pool_backward(dt_elements dy, size_t dy_stride, size_t channels, dt_window window, size_t first_line,
                              size_t lines, int counts_padding, dt_elements dx, int accumulate);
