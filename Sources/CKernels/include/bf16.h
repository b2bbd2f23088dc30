#pragma once
#include <stddef.h>
#include <stdint.h>

/// Rounds `rows` runs of `count` floats, `from_stride` floats apart, to bf16: to the nearest, ties to even. The runs lie
/// together in `to`. NaN stays NaN.
void dt_round_to_bf16(const float *from, size_t from_stride, uint16_t *to, size_t rows, size_t count);
