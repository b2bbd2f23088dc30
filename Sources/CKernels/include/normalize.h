#pragma once
#include <stddef.h>

/// What group and layer normalisation have in common. A block is `pixels` rows of groups × width floats, and mean and
/// variance are taken for each block and group, over pixels × width of them:
/// y = (x − mean) / √(variance + epsilon) · weight + bias, weight and bias by the position in the row.
typedef struct {
    size_t pixels, groups, width;
    float epsilon;
} dt_normalization;

/// The mean and 1 / √(variance + epsilon) of a group: what the way back needs.
typedef struct { float mean, inverse; } dt_moments;

/// Floats of scratch memory that both ways need; it begins on 8 bytes.
size_t dt_normalize_scratch(dt_normalization norm);

/// Rows of `y` are `y_stride` floats apart; `weight` and `bias` may be null.
void dt_normalize_forward(const float *x, size_t blocks, dt_normalization norm, const float *weight, const float *bias,
                          float *y, size_t y_stride, dt_moments *moments, float *scratch);

/// dx (+)= (g − mean(g) − x̂ · mean(g x̂)) / √(variance + epsilon) with g = dy · weight, x̂ the normalised input and both means
/// over the group; weight_sum += Σ dy · x̂; bias_sum += Σ dy. `weight` and each of the three results may be null.
void dt_normalize_backward(const float *x, const float *dy, size_t dy_stride, size_t blocks, dt_normalization norm,
                           const float *weight, const dt_moments *moments, float *weight_sum, float *bias_sum,
                           float *dx, int accumulate, float *scratch);
