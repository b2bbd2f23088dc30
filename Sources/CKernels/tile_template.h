// The product of one instruction set: included by tile.c with
//   LANES   floats in a vector        ROWS    rows of a tile, so that rows × 2 vectors stay in registers
//   TARGET  the function attribute    NAME(x) the names' suffix

typedef float NAME(vector) __attribute__((vector_size(LANES * 4)));
typedef float NAME(half) __attribute__((vector_size(LANES * 2)));
typedef NAME(vector) NAME(vector_at) __attribute__((aligned(4)));
typedef NAME(half) NAME(half_at) __attribute__((aligned(4)));

/// `rows` × (`vectors` whole vectors and perhaps half a one), all constants: the sums stay in registers.
DT_INLINE TARGET void NAME(tile)(const float *a, ptrdiff_t a_row, const float *b, const dt_tile_sum *sum, const int rows,
                                 const int vectors, const int halves, size_t columns, dt_tile_mode mode, float *c,
                                 ptrdiff_t c_row) {
    NAME(vector) total[ROWS][2];
    NAME(half) rest[ROWS];
    const size_t whole = (size_t)(vectors * LANES + halves * LANES / 2);
    const int padded = mode == DT_TILE_ADD_PADDED || columns == whole;
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
        float row[LANES * 5 / 2] = {0};
        const float *from = c + i * c_row;
        if (mode != DT_TILE_SET && !padded) {
            for (size_t j = 0; j < columns; j++) row[j] = from[j];
            from = row;
        }
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++)
            total[i][v] = mode == DT_TILE_SET ? (NAME(vector)){0} : *(const NAME(vector_at) *)(from + v * LANES);
        if (halves)
            rest[i] = mode == DT_TILE_SET ? (NAME(half)){0} : *(const NAME(half_at) *)(from + vectors * LANES);
    }
    const ptrdiff_t a_step = sum->a_step[0], b_step = sum->b_step[0];
    for (size_t outer = 0; outer < sum->count[2]; outer++)
        for (size_t middle = 0; middle < sum->count[1]; middle++) {
            // One pointer for three rows keeps the addresses in registers, too.
            const float *a0 = a + (ptrdiff_t)outer * sum->a_step[2] + (ptrdiff_t)middle * sum->a_step[1];
            const float *a3 = a0 + 3 * a_row, *a6 = a0 + 6 * a_row, *a9 = a0 + 9 * a_row;
            const float *weights = b + (ptrdiff_t)outer * sum->b_step[2] + (ptrdiff_t)middle * sum->b_step[1];
            for (size_t inner = sum->count[0]; inner > 0; inner--) {
                NAME(vector) w[2];
                NAME(half) w_rest;
#pragma clang loop unroll(full)
                for (int v = 0; v < vectors; v++) w[v] = *(const NAME(vector_at) *)(weights + v * LANES);
                if (halves) w_rest = *(const NAME(half_at) *)(weights + vectors * LANES);
#pragma clang loop unroll(full)
                for (int i = 0; i < rows; i++) {
                    const float x = (i < 3 ? a0 : i < 6 ? a3 : i < 9 ? a6 : a9)[i % 3 * a_row];
#pragma clang loop unroll(full)
                    for (int v = 0; v < vectors; v++) total[i][v] += x * w[v];
                    if (halves) rest[i] += x * w_rest;
                }
                a0 += a_step, a3 += a_step, a6 += a_step, a9 += a_step, weights += b_step;
            }
        }
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
        float *to = c + i * c_row;
        if (padded) {
#pragma clang loop unroll(full)
            for (int v = 0; v < vectors; v++) *(NAME(vector_at) *)(to + v * LANES) = total[i][v];
            if (halves) *(NAME(half_at) *)(to + vectors * LANES) = rest[i];
        } else {
            float row[LANES * 5 / 2];
#pragma clang loop unroll(full)
            for (int v = 0; v < vectors; v++) *(NAME(vector_at) *)(row + v * LANES) = total[i][v];
            if (halves) *(NAME(half_at) *)(row + vectors * LANES) = rest[i];
            for (size_t j = 0; j < columns; j++) to[j] = row[j];
        }
    }
}

TARGET static void NAME(multiply)(const float *a, ptrdiff_t a_row, const float *b, const dt_tile_sum *sum, size_t rows,
                                  size_t columns, dt_tile_mode mode, float *c, ptrdiff_t c_row) {
    const int halves = (int)((columns + LANES / 2 - 1) / (LANES / 2));
    while (rows > 0) {
        const size_t count = rows < ROWS ? rows : ROWS;
#define WIDTHS(r)                                                                                              \
    case r:                                                                                                    \
        switch (halves) {                                                                                      \
        case 1: NAME(tile)(a, a_row, b, sum, r, 0, 1, columns, mode, c, c_row); break;                   \
        case 2: NAME(tile)(a, a_row, b, sum, r, 1, 0, columns, mode, c, c_row); break;                   \
        case 3: NAME(tile)(a, a_row, b, sum, r, 1, 1, columns, mode, c, c_row); break;                   \
        default: NAME(tile)(a, a_row, b, sum, r, 2, 0, columns, mode, c, c_row); break;                  \
        }                                                                                                      \
        break;
        switch (count) {
            WIDTHS(1) WIDTHS(2) WIDTHS(3) WIDTHS(4)
#if ROWS > 4
            WIDTHS(5) WIDTHS(6)
#endif
#if ROWS > 6
            WIDTHS(7) WIDTHS(8) WIDTHS(9) WIDTHS(10) WIDTHS(11) WIDTHS(12)
#endif
        }
#undef WIDTHS
        rows -= count;
        a += (ptrdiff_t)count * a_row;
        c += (ptrdiff_t)count * c_row;
    }
}
