#pragma once
#include <stddef.h>
#include <stdint.h>

/// Dropout (Srivastava et al. 2014, inverted): y[i] (+)= x[i] · keep(i) / (1 − probability), where keep(i) depends only
/// on the key, the layer, the step and the element's position in the global batch: element i of row r is word i of the blocks
/// of four that belong to position first_position + r. Forward and backward are the same function: the mask is drawn again,
/// not stored.
void dt_dropout(const float *x, float *y, size_t rows, size_t count, uint64_t first_position, uint64_t seed,
                uint32_t layer, uint32_t step, float probability, int accumulate);
