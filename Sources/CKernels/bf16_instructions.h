#pragma once
// What a product of bf16 needs of the processor: each set of instructions packs factors as it multiplies them.
//
// Both factors are brought into panels of pairs: the two neighbouring terms of a sum that one instruction multiplies, 32 bits. A
// panel of the right factor has the pairs of RIGHT_PANEL columns at the first two terms, then those at the next two, and so on;
// an odd depth ends with zeros. How a panel of the left factor lies is the instructions' own business.
#include "bf16_product.h"
#include "dispatch.h"

enum {
    RIGHT_PANEL = 32,
    /// The most rows of a left panel.
    LEFT_PANEL = 48,
    /// The most pairs of a block: a left panel stays near the first-level cache, and C is read and written once a block.
    BLOCK_PAIRS = 256,
};

/// Pairs of the left factor: those of neighbouring rows are `row` apart, those of neighbouring terms `step`.
typedef struct { const uint32_t *start; size_t row, step; } left_pairs;
/// Pairs of the right factor: those of neighbouring columns lie side by side, whole vectors are read.
typedef struct { const uint32_t *start; size_t step; } right_pairs;

typedef struct {
    /// Rows of a left panel, and of a tile, whose sums stay in registers.
    size_t left_rows, tile_rows;
    /// Packs the pairs from `first_pair` on of `lines` ≤ RIGHT_PANEL columns.
    void (*pack_right)(dt_bf16_factor factor, size_t first_line, size_t lines, size_t depth, size_t first_pair,
                       size_t pairs, uint32_t *to);
    /// Packs `pairs` ≤ BLOCK_PAIRS pairs of `lines` ≤ left_rows rows, and tells how they lie.
    left_pairs (*pack_left)(dt_bf16_factor factor, size_t first_line, size_t lines, size_t depth, size_t first_pair,
                            size_t pairs, uint32_t *to);
    /// c (+)= the product of `rows` ≤ tile_rows rows and `columns` ≤ RIGHT_PANEL columns of pairs.
    void (*tile)(left_pairs a, right_pairs b, size_t pairs, size_t rows, size_t columns, bool accumulate, float *c,
                 size_t c_stride);
    /// Comes after the last tile of a product; NULL where nothing is left to do.
    void (*finish)(void);
} dt_bf16_instructions;

/// NULL where this was not compiled for a processor that might have them.
const dt_bf16_instructions *dt_bf16_avx512(void);
const dt_bf16_instructions *dt_bf16_amx(void);
bool dt_bf16_has_avx512(void);
bool dt_bf16_has_amx(void);
