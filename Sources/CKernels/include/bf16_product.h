#pragma once
#include <stdbool.h>
#include <stddef.h>

// Products of fp32 matrices whose factors are rounded to bf16 (to the nearest, ties to even) and whose sums are fp32.
// Processors with AVX-512-BF16 multiply two pairs of bf16 in each lane of an instruction, those with AMX 16 × 16 sums of 16 pairs
// at once; on others the same is computed in plain C, slowly.

typedef enum { DT_BF16_PLAIN, DT_BF16_AVX512, DT_BF16_AMX } dt_bf16_units;

/// What this processor multiplies bf16 with here.
dt_bf16_units dt_bf16_processor(void);
/// Whether that is faster than fp32.
static inline bool dt_bf16_is_fast(void) { return dt_bf16_processor() != DT_BF16_PLAIN; }

/// A factor as it lies in memory, `stride` floats from one stored row to the next. A factor has lines (the rows of the left
/// one, the columns of the right one) and a depth, over which the product sums: `along` tells whether a stored row is a line
/// and runs along the depth, or has one element of every line.
typedef struct {
    const float *start;
    size_t stride;
    bool along;
} dt_bf16_factor;

/// Floats of scratch memory of a product, whatever its size.
size_t dt_bf16_scratch_count(void);

/// c[i][j] (+)= Σ over k < depth of bf16(a[i][k]) · bf16(b[k][j]) for i < rows, j < columns.
void dt_bf16_multiply(dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns, size_t depth, bool accumulate,
                      float *c, size_t c_stride, float *scratch);

/// The right factor of many products is packed once: floats of the packed matrix, for any number of columns or, packed by
/// parts that begin at multiples of `dt_bf16_panel()` columns, of each part.
size_t dt_bf16_packed_count(size_t columns, size_t depth);
size_t dt_bf16_panel(void);
/// The lines of the panels in which pairs of pixels are packed for a left factor.
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

/// AMX multiplies left factors whose neighbouring terms lie side by side (`a_step` 1). Makes rows of them, `dt_bf16_row(pairs)` pairs
/// from one to the next, from panels of `panel` lines, as `dt_bf16_window_pairs` packs them.
void dt_bf16_rows_of_pairs(const void *panels, size_t panel, size_t lines, size_t pairs, void *rows);
/// So many pairs in whole cache lines.
size_t dt_bf16_row(size_t pairs);

// As processors with `units` compute the products; for the tests.

void dt_bf16_multiply_by(dt_bf16_units units, dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns, size_t depth,
                         bool accumulate, float *c, size_t c_stride, float *scratch);
void dt_bf16_multiply_packed_by(dt_bf16_units units, dt_bf16_factor a, const float *packed, size_t rows, size_t columns,
                                size_t depth, bool accumulate, float *c, size_t c_stride, float *scratch);
/// With `a_step` 1.
void dt_bf16_multiply_pairs_by(dt_bf16_units units, const void *a, size_t a_row, const void *b, size_t b_step, size_t pairs,
                               size_t rows, size_t columns, bool accumulate, float *c, size_t c_stride);
