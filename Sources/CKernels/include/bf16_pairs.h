#pragma once
#include <stddef.h>
#include "elements.h"
#include "window.h"

/// What a position of the kernel sees of an image, for `pixels` output pixels from `first_pixel` on, counted over all images, as
/// pairs for `dt_bf16_multiply_pairs`: two neighbouring output pixels are the two terms, the channels are the lines. Pairs lie
/// in panels of `panel` channels, a multiple of 16: panel × pair × channel. Positions in the padding, and the second pixel of
/// an odd last one, are zeros, as are channels up to whole vectors of 16. fp32 elements are rounded to the nearest bf16.
/// Input pixels are `pixel_stride` elements apart.
void dt_bf16_window_pairs(dt_elements x, dt_window window, size_t pixel_stride, size_t channels, size_t kernel_row,
                          size_t kernel_column, size_t first_pixel, size_t pixels, size_t panel, float *pairs);
