#pragma once
#include <stddef.h>
#include "window.h"

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
