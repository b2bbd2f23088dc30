#include "bf16_vectors.h"

#if DT_BF16_VECTORS
enum {
    /// With twelve rows of two vectors the sums take 24 registers.
    TILE_ROWS = 12,
};

/// Packs pairs of lines into a panel of `panel` lines.
DT_INLINE TARGET void pack(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair, size_t pairs,
                           const size_t panel, uint32_t *to) {
    const size_t first_term = 2 * first_pair;
    if (!f.along) {
        for (size_t pair = 0; pair < pairs; pair++) {
            const size_t term = first_term + 2 * pair;
            const float *one = f.start + term * f.stride + first_line;
            const float *other = term + 1 < depth ? one + f.stride : NULL;
            for (size_t line = 0; line < lines; line += 16)
                _mm512_storeu_si512(to + pair * panel + line,
                                    pairs_across(one + line, other ? other + line : NULL, first_lanes(lines - line)));
        }
        return;
    }
    for (size_t line = 0; line < lines; line += 16) {
        const size_t count = smaller(16, lines - line);
        const float *from = f.start + (first_line + line) * f.stride + first_term;
        for (size_t pair = 0; pair < pairs; pair += 16) {
            const size_t terms = smaller(32, depth - first_term - 2 * pair);
            __m512i rows[16];
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 16; i++) {
                if (i < count) rows[i] = pairs_along(from + i * f.stride + 2 * pair, terms);
                else rows[i] = _mm512_setzero_si512();
            }
            store_transposed(rows, smaller(16, pairs - pair), to + pair * panel + line, panel);
        }
    }
}

TARGET void dt_bf16_pack_right(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair,
                               size_t pairs, uint32_t *to) {
    pack(f, first_line, lines, depth, first_pair, pairs, RIGHT_PANEL, to);
}

/// The panel has the pairs of its rows at the first two terms, then those at the next two: they are read a pair at a time.
TARGET static left_pairs pack_left(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair,
                                   size_t pairs, uint32_t *to) {
    pack(f, first_line, lines, depth, first_pair, pairs, LEFT_PANEL, to);
    return (left_pairs){to, 1, LEFT_PANEL};
}

/// A tile of constant size.
DT_INLINE TARGET void tile(left_pairs a, right_pairs b, size_t pairs, const int rows, const int vectors, size_t columns,
                           bool accumulate, float *c, size_t c_stride) {
    __m512 sum[TILE_ROWS][2];
    const __mmask16 lanes[2] = {first_lanes(columns), first_lanes(columns > 16 ? columns - 16 : 0)};
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_ps();
            __builtin_prefetch(c + (size_t)i * c_stride + 16 * v, 1);
        }
    // One pointer for three rows keeps the addresses in registers, too.
    const uint32_t *a0 = a.start, *a3 = a0 + 3 * a.row, *a6 = a0 + 6 * a.row, *a9 = a0 + 9 * a.row;
    for (size_t pair = 0; pair < pairs; pair++) {
        __m512bh y[2];
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) y[v] = (__m512bh)_mm512_loadu_si512(b.start + 16 * v);
#pragma clang loop unroll(full)
        for (int i = 0; i < rows; i++) {
            const uint32_t *three = i < 3 ? a0 : i < 6 ? a3 : i < 9 ? a6 : a9;
            const __m512bh x = (__m512bh)_mm512_set1_epi32((int)three[(size_t)i % 3 * a.row]);
#pragma clang loop unroll(full)
            for (int v = 0; v < vectors; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], x, y[v]);
        }
        a0 += a.step, a3 += a.step, a6 += a.step, a9 += a.step, b.start += b.step;
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) {
            float *to = c + (size_t)i * c_stride + 16 * v;
            if (accumulate) sum[i][v] = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes[v], to), sum[i][v]);
            _mm512_mask_storeu_ps(to, lanes[v], sum[i][v]);
        }
}

TARGET static void tile_of(left_pairs a, right_pairs b, size_t pairs, size_t rows, size_t columns, bool accumulate, float *c,
                           size_t c_stride) {
#define ROWS(r)                                                                                 \
    case r:                                                                                     \
        if (columns > 16) tile(a, b, pairs, r, 2, columns, accumulate, c, c_stride);            \
        else tile(a, b, pairs, r, 1, columns, accumulate, c, c_stride);                         \
        break;
    switch (rows) {
        ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
    }
#undef ROWS
}

static const dt_bf16_instructions avx512 = {LEFT_PANEL, TILE_ROWS, dt_bf16_pack_right, pack_left, tile_of, NULL};
const dt_bf16_instructions *dt_bf16_avx512(void) { return &avx512; }

TARGET void dt_bf16_rows_of_pairs(const void *panels, size_t panel, size_t lines, size_t pairs, void *rows) {
    const size_t row = dt_bf16_row(pairs);
    for (size_t line = 0; line < lines; line += 16)
        for (size_t pair = 0; pair < pairs; pair += 16) {
            const size_t height = smaller(16, lines - line), width = smaller(16, pairs - pair);
            const uint32_t *from = (const uint32_t *)panels + line / panel * panel * pairs + pair * panel + line % panel;
            __m512i block[16];
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 16; i++) {
                if (i < width) block[i] = _mm512_maskz_loadu_epi32(first_lanes(height), from + i * panel);
                else block[i] = _mm512_setzero_si512();
            }
            store_transposed(block, height, (uint32_t *)rows + line * row + pair, row);
        }
}

bool dt_bf16_has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
}
#else
const dt_bf16_instructions *dt_bf16_avx512(void) { return NULL; }
void dt_bf16_rows_of_pairs(const void *panels, size_t panel, size_t lines, size_t pairs, void *rows) {
    const uint32_t *from = panels;
    for (size_t line = 0; line < lines; line++)
        for (size_t pair = 0; pair < pairs; pair++)
            ((uint32_t *)rows)[line * dt_bf16_row(pairs) + pair] =
                from[line / panel * panel * pairs + pair * panel + line % panel];
}
bool dt_bf16_has_avx512(void) { return false; }
#endif
