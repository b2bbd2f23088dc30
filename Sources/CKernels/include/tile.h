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
size_t dt_tile_granularity(void);

typedef enum {
    DT_TILE_SET,                ///< c = product (+ initial)
    DT_TILE_ADD,                ///< c += product
    DT_TILE_ADD_PADDED,         ///< c += product, whole vectors of c at a time: each row of c has room for them
} dt_tile_mode;

/// c[i][j] (+)= Σ over the loops of a[i · a_row + …] · b[… + j] for `rows` rows and `columns` ≤ dt_tile_panel() columns.
/// Exactly `columns` floats of a row of C are touched, but for DT_TILE_ADD_PADDED. With DT_TILE_SET the sums begin with
/// `initial` (a bias; whole vectors of it are read), or with zeros where that is null.
void dt_tile_multiply(const float *a, ptrdiff_t a_row, const float *b, const dt_tile_sum *sum, size_t rows,
                      size_t columns, dt_tile_mode mode, const float *initial, float *c, ptrdiff_t c_row);

/// Lays a matrix B of `depth` rows and `columns` columns out for dt_tile_multiply: panels of `panel` columns, in each row
/// after row, the last panel filled up with zeros. B[k][j] is b[k · row_step + j · column_step].
void dt_pack_panels(const float *b, size_t depth, size_t columns, size_t row_step, size_t column_step, size_t panel,
                    float *panels);
