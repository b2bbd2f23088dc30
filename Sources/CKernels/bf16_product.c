#include "bf16_product.h"
#include "element.h"

// Both factors are brought into panels of pairs: the two neighbouring terms of a sum that one lane multiplies, 32 bits. A
// panel has the pairs of PANEL lines at the first two terms, then those at the next two, and so on; an odd depth ends with
// zeros. A panel of the right factor is two vectors wide. One of the left factor is read a pair at a time.
enum {
    LEFT_PANEL = 48,
    RIGHT_PANEL = 32,
    /// Rows of a tile: its sums, rows × 2 vectors, stay in registers.
    TILE_ROWS = 12,
    /// The most pairs of a block: a left panel stays near the first-level cache, and C is read and written once a block.
    BLOCK_PAIRS = 256,
    /// Pairs of stored rows that are packed together: as many as the processor follows with its prefetches.
    PACKED_PAIRS = 4,
    /// The most pairs of the right factor that are packed together: half of a 1 MiB L2 cache.
    BLOCK_SIZE = 128 * 1024,
};

/// Pairs of the left factor: those of neighbouring rows are `row` apart, those of neighbouring terms `step`.
typedef struct { const uint32_t *start; size_t row, step; } left_pairs;
/// Pairs of the right factor: those of neighbouring columns lie side by side, whole vectors are read.
typedef struct { const uint32_t *start; size_t step; } right_pairs;

typedef struct {
    /// Packs the pairs from `first_pair` on of `lines` ≤ `panel` lines.
    void (*pack)(dt_bf16_factor factor, size_t first_line, size_t lines, size_t depth, size_t first_pair, size_t pairs,
                 size_t panel, uint32_t *to);
    /// c (+)= the product of `rows` ≤ TILE_ROWS rows and `columns` ≤ RIGHT_PANEL columns of pairs.
    void (*tile)(left_pairs a, right_pairs b, size_t pairs, size_t rows, size_t columns, bool accumulate, float *c,
                 size_t c_stride);
} instructions;

static size_t parts(size_t count, size_t largest) { return (count + largest - 1) / largest; }

// MARK: Plain C

DT_INLINE uint32_t rounded_at(dt_bf16_factor f, size_t line, size_t term, size_t depth) {
    return term < depth ? rounded_to_bf16(f.along ? f.start[line * f.stride + term] : f.start[term * f.stride + line])
                        : 0;
}

static void plain_pack(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair, size_t pairs,
                       size_t panel, uint32_t *to) {
    for (size_t pair = 0; pair < pairs; pair++)
        for (size_t line = 0; line < lines; line++) {
            const size_t term = 2 * (first_pair + pair);
            to[pair * panel + line] = rounded_at(f, first_line + line, term, depth)
                                      | rounded_at(f, first_line + line, term + 1, depth) << 16;
        }
}

DT_DISPATCH
static void plain_tile(left_pairs a, right_pairs b, size_t pairs, size_t rows, size_t columns, bool accumulate, float *c,
                       size_t c_stride) {
    for (size_t i = 0; i < rows; i++) {
        float sum[RIGHT_PANEL] = {0};
        for (size_t pair = 0; pair < pairs; pair++) {
            const uint32_t x = a.start[pair * a.step + i * a.row];
            for (size_t j = 0; j < columns; j++) {
                const uint32_t y = b.start[pair * b.step + j];
                sum[j] += widened_bf16((uint16_t)x) * widened_bf16((uint16_t)y);
                sum[j] += widened_bf16((uint16_t)(x >> 16)) * widened_bf16((uint16_t)(y >> 16));
            }
        }
        for (size_t j = 0; j < columns; j++) c[i * c_stride + j] = (accumulate ? c[i * c_stride + j] : 0) + sum[j];
    }
}

static const instructions plain = {plain_pack, plain_tile};

// MARK: AVX-512-BF16

#if defined(__x86_64__) && !defined(DT_NO_DISPATCH)
#include <immintrin.h>
#define TARGET __attribute__((target("avx512bf16,avx512f,avx512bw,avx512vl,avx512dq")))

DT_INLINE __mmask16 first_lanes(size_t count) { return count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1); }

/// The pairs of 16 neighbouring terms of two stored rows, of which the second may be missing.
DT_INLINE TARGET __m512i pairs_across(const float *one, const float *other, __mmask16 lanes) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                           20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512 low = _mm512_maskz_loadu_ps(lanes, one);
    const __m512 high = other ? _mm512_maskz_loadu_ps(lanes, other) : _mm512_setzero_ps();
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/// Transposes 16 × 16 pairs: row i of `x` becomes lane i of every row.
DT_INLINE TARGET void transpose(__m512i x[16]) {
    __m512i y[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 4) {
        x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    // x[4 g + i] has, in each quarter q, column 4 q + i of the rows 4 g to 4 g + 3.
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        y[i] = _mm512_shuffle_i32x4(x[i], x[4 + i], 0x88);
        y[4 + i] = _mm512_shuffle_i32x4(x[i], x[4 + i], 0xdd);
        y[8 + i] = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0x88);
        y[12 + i] = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0xdd);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_shuffle_i32x4(y[i], y[8 + i], 0x88);
        x[8 + i] = _mm512_shuffle_i32x4(y[i], y[8 + i], 0xdd);
        x[4 + i] = _mm512_shuffle_i32x4(y[4 + i], y[12 + i], 0x88);
        x[12 + i] = _mm512_shuffle_i32x4(y[4 + i], y[12 + i], 0xdd);
    }
}

TARGET static void avx512_pack(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair,
                               size_t pairs, size_t panel, uint32_t *to) {
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
            const __mmask16 low = first_lanes(terms), high = first_lanes(terms > 16 ? terms - 16 : 0);
            __m512i rows[16];
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 16; i++) {
                if (i < count) {
                    const float *row = from + i * f.stride + 2 * pair;
                    rows[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, row + 16),
                                                           _mm512_maskz_loadu_ps(low, row));
                } else
                    rows[i] = _mm512_setzero_si512();
            }
            transpose(rows);
            uint32_t *place = to + pair * panel + line;
            const size_t whole = smaller(16, pairs - pair);
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 16; i++)
                if (i < whole) _mm512_storeu_si512(place + i * panel, rows[i]);
        }
    }
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

TARGET static void avx512_tile(left_pairs a, right_pairs b, size_t pairs, size_t rows, size_t columns, bool accumulate,
                               float *c, size_t c_stride) {
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

static const instructions avx512 = {avx512_pack, avx512_tile};

static bool has_avx512_bf16(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
}
#else
static const instructions avx512 = {plain_pack, plain_tile};
static bool has_avx512_bf16(void) { return false; }
#endif

bool dt_bf16_is_fast(void) { return has_avx512_bf16(); }

static const instructions *best = &plain;

__attribute__((constructor)) static void find_instructions(void) {
    if (has_avx512_bf16()) best = &avx512;
}

// MARK: Blocks

size_t dt_bf16_panel(void) { return RIGHT_PANEL; }
size_t dt_bf16_left_panel(void) { return LEFT_PANEL; }
size_t dt_bf16_scratch_count(void) { return BLOCK_SIZE + LEFT_PANEL * BLOCK_PAIRS; }
size_t dt_bf16_packed_count(size_t columns, size_t depth) {
    return parts(columns, RIGHT_PANEL) * RIGHT_PANEL * parts(depth, 2);
}

/// Packs `pairs` pairs of the columns from `first` on into right panels, one after the other. Some pairs of all panels come
/// before the next pairs, so that memory is read in long runs either way.
static void pack_panels(const instructions *use, dt_bf16_factor b, size_t first, size_t columns, size_t depth,
                        size_t first_pair, size_t pairs, uint32_t *packed) {
    const size_t step = b.along ? pairs : PACKED_PAIRS;
    for (size_t pair = 0; pair < pairs; pair += step)
        for (size_t column = 0; column < columns; column += RIGHT_PANEL)
            use->pack(b, first + column, smaller(RIGHT_PANEL, columns - column), depth, first_pair + pair,
                      smaller(step, pairs - pair), RIGHT_PANEL, packed + column * pairs + pair * RIGHT_PANEL);
}

void dt_bf16_pack(dt_bf16_factor b, size_t columns, size_t depth, float *packed) {
    pack_panels(best, b, 0, columns, depth, 0, parts(depth, 2), (uint32_t *)packed);
}

/// Fetches one of `count` parts of what packing these lines will read.
static void prefetch(dt_bf16_factor f, size_t first_line, size_t lines, size_t first_term, size_t terms, size_t part,
                     size_t count) {
    const size_t rows = f.along ? lines : terms, length = f.along ? terms : lines;
    const float *from = f.start + (f.along ? first_line * f.stride + first_term : first_term * f.stride + first_line);
    for (size_t row = rows * part / count; row < rows * (part + 1) / count; row++)
        for (size_t i = 0; i < length; i += 16) __builtin_prefetch(from + row * f.stride + i, 0, 2);
}

/// The product of any number of rows with `columns` ≤ RIGHT_PANEL columns. The tiles are of about the same height: a low one
/// would wait for its own sums.
static void multiply_rows(const instructions *use, left_pairs a, right_pairs b, size_t pairs, size_t rows, size_t columns,
                          bool accumulate, float *c, size_t c_stride) {
    const size_t tiles = parts(rows, TILE_ROWS);
    for (size_t t = 0, row = 0; t < tiles; t++) {
        const size_t end = rows * (t + 1) / tiles;
        const left_pairs from = {a.start + row * a.row, a.row, a.step};
        use->tile(from, b, pairs, end - row, columns, accumulate, c + row * c_stride, c_stride);
        row = end;
    }
}

/// The product over `pairs` ≤ BLOCK_PAIRS pairs, with right panels that are `panel_pairs` pairs long.
static void multiply_block(const instructions *use, dt_bf16_factor a, const uint32_t *b, size_t panel_pairs, size_t rows,
                           size_t columns, size_t depth, size_t first_pair, size_t pairs, bool accumulate, float *c,
                           size_t c_stride, uint32_t *left) {
    const size_t panels = parts(columns, RIGHT_PANEL), terms = smaller(2 * pairs, depth - 2 * first_pair);
    for (size_t first = 0; first < rows; first += LEFT_PANEL) {
        const size_t count = smaller(LEFT_PANEL, rows - first);
        const size_t next = smaller(LEFT_PANEL, rows - first - count);
        use->pack(a, first, count, depth, first_pair, pairs, LEFT_PANEL, left);
        for (size_t panel = 0; panel < panels; panel++) {
            const size_t column = panel * RIGHT_PANEL;
            prefetch(a, first + count, next, 2 * first_pair, terms, panel, panels);
            multiply_rows(use, (left_pairs){left, 1, LEFT_PANEL}, (right_pairs){b + column * panel_pairs, RIGHT_PANEL}, pairs,
                          count, smaller(RIGHT_PANEL, columns - column), accumulate, c + first * c_stride + column, c_stride);
        }
    }
}

static void clear(float *c, size_t c_stride, size_t rows, size_t columns) {
    for (size_t i = 0; i < rows; i++) memset(c + i * c_stride, 0, columns * sizeof *c);
}

void dt_bf16_multiply_packed(dt_bf16_factor a, const float *packed, size_t rows, size_t columns, size_t depth,
                             bool accumulate, float *c, size_t c_stride, float *scratch) {
    const uint32_t *b = (const uint32_t *)packed;
    const size_t all = parts(depth, 2), blocks = parts(all, BLOCK_PAIRS);
    if (all == 0 && !accumulate) clear(c, c_stride, rows, columns);
    for (size_t block = 0; block < blocks; block++) {
        const size_t first = all * block / blocks, pairs = all * (block + 1) / blocks - first;
        multiply_block(best, a, b + first * RIGHT_PANEL, all, rows, columns, depth, first, pairs, accumulate || block > 0, c,
                       c_stride, (uint32_t *)scratch);
    }
}

static void multiply(const instructions *use, dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns,
                     size_t depth, bool accumulate, float *c, size_t c_stride, float *scratch) {
    uint32_t *left = (uint32_t *)scratch, *right = left + LEFT_PANEL * BLOCK_PAIRS;
    const size_t all = parts(depth, 2), blocks = parts(all, BLOCK_PAIRS);
    if (all == 0 && !accumulate) clear(c, c_stride, rows, columns);
    for (size_t block = 0; block < blocks; block++) {
        const size_t first = all * block / blocks, pairs = all * (block + 1) / blocks - first;
        const size_t panels = parts(columns, RIGHT_PANEL);
        const size_t slices = parts(panels, BLOCK_SIZE / (RIGHT_PANEL * pairs));
        for (size_t slice = 0; slice < slices; slice++) {
            const size_t column = panels * slice / slices * RIGHT_PANEL;
            const size_t end = smaller(columns, panels * (slice + 1) / slices * RIGHT_PANEL);
            pack_panels(use, b, column, end - column, depth, first, pairs, right);
            multiply_block(use, a, right, pairs, rows, end - column, depth, first, pairs, accumulate || block > 0,
                           c + column, c_stride, left);
        }
    }
}

void dt_bf16_multiply(dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns, size_t depth, bool accumulate,
                      float *c, size_t c_stride, float *scratch) {
    multiply(best, a, b, rows, columns, depth, accumulate, c, c_stride, scratch);
}

void dt_bf16_multiply_plain(dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns, size_t depth,
                            bool accumulate, float *c, size_t c_stride, float *scratch) {
    multiply(&plain, a, b, rows, columns, depth, accumulate, c, c_stride, scratch);
}

void dt_bf16_multiply_pairs(const void *a, size_t a_row, size_t a_step, const void *b, size_t b_step, size_t pairs,
                            size_t rows, size_t columns, bool accumulate, float *c, size_t c_stride) {
    multiply_rows(best, (left_pairs){a, a_row, a_step}, (right_pairs){b, b_step}, pairs, rows, columns, accumulate, c,
                  c_stride);
}
