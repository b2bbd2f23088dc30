#pragma once
#include "elements.h"
#include "window.h"

// Convolution in small groups: a 3 × 3 kernel of stride 1, padded by 1, whose groups have 4 or 8 channels before and behind.
// A product of matrices of so few columns would leave most of a vector idle. Here a vector holds 16 channels, that is several
// groups, and each input of a group is spread over that group's lanes. Channels are a multiple of 16.
//
// Lines are output lines counted over all images; `x`, `y` and `dy` are the pixels from image 0 on, fp32 or bf16, each for itself.
// Calculation is in fp32.

/// Brings 16 · block_count outputs' weights, from those of `first_block` on, into the order that the other functions want:
/// block × kernel row × quarter of a vector's inputs × kernel column × input × 16 outputs. With `is_turned` those of the
/// convolution that takes gradients back. Both have channels · 9 · group_size floats.
void dt_grouped_pack(const float *weights, size_t group_size, size_t first_block, size_t block_count, int is_turned,
                     float *packed);
/// The other way: gradient = sums, or += where `accumulate` is not 0.
void dt_grouped_unpack(const float *packed, size_t group_size, size_t first_block, size_t block_count, int accumulate,
                       float *gradient);

/// y = x ⋆ weights (+ bias, where not null); y += where `accumulate` is not 0.
void dt_grouped_forward(dt_pixels x, const float *packed, const float *bias, size_t channels, size_t group_size,
                        dt_window window, size_t first_line, size_t lines, dt_pixels y, int accumulate);

/// sums += the gradient of the weights over these lines.
void dt_grouped_weight_gradient(dt_pixels x, dt_pixels dy, size_t channels, size_t group_size, dt_window window,
                                size_t first_line, size_t lines, float *sums);
