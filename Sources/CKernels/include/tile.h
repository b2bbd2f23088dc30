#pragma once
#include <stddef.h>

/// A product of two matrices that are read where they lie, the sum running over up to three nested loops, innermost
/// first. Overlapping windows of an image need no copy: a row of A is a window.
typedef struct {
    size_t count[3];
    ptrdiff_t a_step[3], b_step[3];        ///< floats from one term of a loop to the next
} dt_tile_sum;

/// The most columns of one product: two vectors of this processor.
size_t dt_tile_panel(void);

/// Rows of B are read, and padded rows of C read and written, in multiples of this many floats.
size_t dt_tile_lanes(void);

typedef enum {
    DT_TILE_SET,                ///< c = product
    DT_TILE_ADD,                ///< c += product
    DT_TILE_ADD_PADDED,         ///< c += product, whole vectors of c at a time: each row of c has room for them
} dt_tile_mode;

/// c[i][j] (+)= Σ over the loops of a[i · a_row + …] · b[… + j] for `rows` rows and `columns` ≤ dt_tile_panel() columns.
/// Exactly `columns` floats of a row of C are touched, but for DT_TILE_ADD_PADDED.
void dt_tile_multiply(const float *a, ptrdiff_t a_row, const float *b, const dt_tile_sum *sum, size_t rows,
                      size_t columns, dt_tile_mode mode, float *c, ptrdiff_t c_row);
