#pragma once
#include <stdbool.h>
#include <stddef.h>

// Products of fp32 matrices whose factors are rounded to bf16 (to the nearest, ties to even) and whose sums are fp32.
// Processors with AVX-512-BF16 multiply two pairs of bf16 in each lane of an instruction; on others the same is computed in
// plain C, slowly.

/// A factor as it lies in memory, `stride` floats from one stored row to the next. A factor has lines (the rows of the left
/// one, the columns of the right one) and a depth, over which the product sums: `along` tells whether a stored row is a line
/// and runs along the depth, or has one element of every line.
typedef struct {
    const float *start;
    size_t stride;
    bool along;
} dt_bf16_factor;

/// Whether this processor multiplies bf16 faster than fp32.
bool dt_bf16_is_fast(void);

/// Floats of scratch memory of a product, whatever its size.
size_t dt_bf16_scratch_count(void);

/// c[i][j] (+)= Σ over k < depth of bf16(a[i][k]) · bf16(b[k][j]) for i < rows, j < columns.
void dt_bf16_multiply(dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns, size_t depth, bool accumulate,
                      float *c, size_t c_stride, float *scratch);

/// The same in plain C, as processors without AVX-512-BF16 compute it; for the tests.
void dt_bf16_multiply_plain(dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns, size_t depth,
                            bool accumulate, float *c, size_t c_stride, float *scratch);

/// The right factor of many products is packed once: floats of the packed matrix, for any number of columns or, packed by
/// parts that begin at multiples of `dt_bf16_panel()` columns, of each part.
size_t dt_bf16_packed_count(size_t columns, size_t depth);
size_t dt_bf16_panel(void);
/// The rows of a left factor's panel.
size_t dt_bf16_left_panel(void);
void dt_bf16_pack(dt_bf16_factor b, size_t columns, size_t depth, float *packed);

/// As `dt_bf16_multiply`, with a right factor that is packed.
void dt_bf16_multiply_packed(dt_bf16_factor a, const float *packed, size_t rows, size_t columns, size_t depth,
                             bool accumulate, float *c, size_t c_stride, float *scratch);

/// A product of factors that are bf16 already, in pairs: the two neighbouring terms of a sum, 32 bits, the first the lower
/// half. c[i][j] (+)= Σ over p < pairs of a[i · a_row + p · a_step] · b[p · b_step + j] for i < rows,
/// j < columns ≤ `dt_bf16_panel()`. Strides count pairs; of `b` whole vectors of 16 are read.
void dt_bf16_multiply_pairs(const void *a, size_t a_row, size_t a_step, const void *b, size_t b_step, size_t pairs,
                            size_t rows, size_t columns, bool accumulate, float *c, size_t c_stride);
