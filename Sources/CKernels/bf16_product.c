#include "bf16_instructions.h"
#include "element.h"

enum {
    /// Pairs of stored rows that are packed together: as many as the processor follows with its prefetches.
    PACKED_PAIRS = 4,
    /// The most pairs of the right factor that are packed together: half of a 1 MiB L2 cache.
    BLOCK_SIZE = 128 * 1024,
};

static size_t parts(size_t count, size_t largest) { return (count + largest - 1) / largest; }

// MARK: Plain C

DT_INLINE uint32_t rounded_at(dt_bf16_factor f, size_t line, size_t term, size_t depth) {
    return term < depth ? rounded_to_bf16(f.along ? f.start[line * f.stride + term] : f.start[term * f.stride + line])
                        : 0;
}

DT_INLINE void plain_pack(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair, size_t pairs,
                          size_t panel, uint32_t *to) {
    for (size_t pair = 0; pair < pairs; pair++)
        for (size_t line = 0; line < lines; line++) {
            const size_t term = 2 * (first_pair + pair);
            to[pair * panel + line] = rounded_at(f, first_line + line, term, depth)
                                      | rounded_at(f, first_line + line, term + 1, depth) << 16;
        }
}

static void plain_pack_right(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair, size_t pairs,
                             uint32_t *to) {
    plain_pack(f, first_line, lines, depth, first_pair, pairs, RIGHT_PANEL, to);
}

static left_pairs plain_pack_left(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair,
                                  size_t pairs, uint32_t *to) {
    plain_pack(f, first_line, lines, depth, first_pair, pairs, LEFT_PANEL, to);
    return (left_pairs){to, 1, LEFT_PANEL};
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

static const dt_bf16_instructions plain = {LEFT_PANEL, LEFT_PANEL, plain_pack_right, plain_pack_left, plain_tile, NULL};

// MARK: Sets of instructions

static dt_bf16_units processor = DT_BF16_PLAIN;

__attribute__((constructor)) static void find_units(void) {
    if (dt_bf16_has_avx512()) processor = dt_bf16_has_amx() ? DT_BF16_AMX : DT_BF16_AVX512;
}

dt_bf16_units dt_bf16_processor(void) { return processor; }

static const dt_bf16_instructions *instructions_of(dt_bf16_units units) {
    return units == DT_BF16_AMX ? dt_bf16_amx() : units == DT_BF16_AVX512 ? dt_bf16_avx512() : &plain;
}

// MARK: Blocks

size_t dt_bf16_panel(void) { return RIGHT_PANEL; }
size_t dt_bf16_left_panel(void) { return LEFT_PANEL; }
size_t dt_bf16_scratch_count(void) { return BLOCK_SIZE + LEFT_PANEL * BLOCK_PAIRS; }
size_t dt_bf16_row(size_t pairs) { return parts(pairs, 16) * 16; }
size_t dt_bf16_packed_count(size_t columns, size_t depth) {
    return parts(columns, RIGHT_PANEL) * RIGHT_PANEL * parts(depth, 2);
}

/// Packs `pairs` pairs of the columns from `first` on into right panels, one after the other. Some pairs of all panels come
/// before the next pairs, so that memory is read in long runs either way.
static void pack_panels(const dt_bf16_instructions *use, dt_bf16_factor b, size_t first, size_t columns, size_t depth,
                        size_t first_pair, size_t pairs, uint32_t *packed) {
    const size_t step = b.along ? pairs : PACKED_PAIRS;
    for (size_t pair = 0; pair < pairs; pair += step)
        for (size_t column = 0; column < columns; column += RIGHT_PANEL)
            use->pack_right(b, first + column, smaller(RIGHT_PANEL, columns - column), depth, first_pair + pair,
                            smaller(step, pairs - pair), packed + column * pairs + pair * RIGHT_PANEL);
}

void dt_bf16_pack(dt_bf16_factor b, size_t columns, size_t depth, float *packed) {
    pack_panels(instructions_of(processor), b, 0, columns, depth, 0, parts(depth, 2), (uint32_t *)packed);
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
static void multiply_rows(const dt_bf16_instructions *use, left_pairs a, right_pairs b, size_t pairs, size_t rows,
                          size_t columns, bool accumulate, float *c, size_t c_stride) {
    const size_t tiles = parts(rows, use->tile_rows);
    for (size_t t = 0, row = 0; t < tiles; t++) {
        const size_t end = rows * (t + 1) / tiles;
        const left_pairs from = {a.start + row * a.row, a.row, a.step};
        use->tile(from, b, pairs, end - row, columns, accumulate, c + row * c_stride, c_stride);
        row = end;
    }
}

/// The product over `pairs` ≤ BLOCK_PAIRS pairs, with right panels that are `panel_pairs` pairs long.
static void multiply_block(const dt_bf16_instructions *use, dt_bf16_factor a, const uint32_t *b, size_t panel_pairs,
                           size_t rows, size_t columns, size_t depth, size_t first_pair, size_t pairs, bool accumulate,
                           float *c, size_t c_stride, uint32_t *left) {
    const size_t panels = parts(columns, RIGHT_PANEL), terms = smaller(2 * pairs, depth - 2 * first_pair);
    for (size_t first = 0; first < rows; first += use->left_rows) {
        const size_t count = smaller(use->left_rows, rows - first);
        const size_t next = smaller(use->left_rows, rows - first - count);
        const left_pairs packed = use->pack_left(a, first, count, depth, first_pair, pairs, left);
        for (size_t panel = 0; panel < panels; panel++) {
            const size_t column = panel * RIGHT_PANEL;
            prefetch(a, first + count, next, 2 * first_pair, terms, panel, panels);
            multiply_rows(use, packed, (right_pairs){b + column * panel_pairs, RIGHT_PANEL}, pairs, count,
                          smaller(RIGHT_PANEL, columns - column), accumulate, c + first * c_stride + column, c_stride);
        }
    }
}

static void clear(float *c, size_t c_stride, size_t rows, size_t columns) {
    for (size_t i = 0; i < rows; i++) memset(c + i * c_stride, 0, columns * sizeof *c);
}

/// Where a block of pairs begins: at whole tiles of AMX, so that the last block alone has a rest.
static size_t start(size_t block, size_t blocks, size_t all) { return smaller(all, dt_bf16_row(all * block / blocks)); }

static void finish(const dt_bf16_instructions *use) {
    if (use->finish) use->finish();
}

static void multiply_packed(const dt_bf16_instructions *use, dt_bf16_factor a, const uint32_t *b, size_t rows, size_t columns,
                            size_t depth, bool accumulate, float *c, size_t c_stride, uint32_t *left) {
    const size_t all = parts(depth, 2), blocks = parts(all, BLOCK_PAIRS);
    if (all == 0 && !accumulate) clear(c, c_stride, rows, columns);
    for (size_t block = 0; block < blocks; block++) {
        const size_t first = start(block, blocks, all), pairs = start(block + 1, blocks, all) - first;
        multiply_block(use, a, b + first * RIGHT_PANEL, all, rows, columns, depth, first, pairs, accumulate || block > 0, c,
                       c_stride, left);
    }
    finish(use);
}

static void multiply(const dt_bf16_instructions *use, dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns,
                     size_t depth, bool accumulate, float *c, size_t c_stride, uint32_t *left) {
    uint32_t *right = left + LEFT_PANEL * BLOCK_PAIRS;
    const size_t all = parts(depth, 2), blocks = parts(all, BLOCK_PAIRS);
    if (all == 0 && !accumulate) clear(c, c_stride, rows, columns);
    for (size_t block = 0; block < blocks; block++) {
        const size_t first = start(block, blocks, all), pairs = start(block + 1, blocks, all) - first;
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
    finish(use);
}

static void multiply_pairs(const dt_bf16_instructions *use, left_pairs a, right_pairs b, size_t pairs, size_t rows,
                           size_t columns, bool accumulate, float *c, size_t c_stride) {
    multiply_rows(use, a, b, pairs, rows, columns, accumulate, c, c_stride);
    finish(use);
}

void dt_bf16_multiply(dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns, size_t depth, bool accumulate,
                      float *c, size_t c_stride, float *scratch) {
    multiply(instructions_of(processor), a, b, rows, columns, depth, accumulate, c, c_stride, (uint32_t *)scratch);
}

void dt_bf16_multiply_packed(dt_bf16_factor a, const float *packed, size_t rows, size_t columns, size_t depth,
                             bool accumulate, float *c, size_t c_stride, float *scratch) {
    multiply_packed(instructions_of(processor), a, (const uint32_t *)packed, rows, columns, depth, accumulate, c, c_stride,
                    (uint32_t *)scratch);
}

void dt_bf16_multiply_pairs(const void *a, size_t a_row, size_t a_step, const void *b, size_t b_step, size_t pairs,
                            size_t rows, size_t columns, bool accumulate, float *c, size_t c_stride) {
    // Tiles have rows whose terms lie side by side.
    const dt_bf16_units units = processor == DT_BF16_AMX && a_step != 1 ? DT_BF16_AVX512 : processor;
    multiply_pairs(instructions_of(units), (left_pairs){a, a_row, a_step}, (right_pairs){b, b_step}, pairs, rows, columns,
                   accumulate, c, c_stride);
}

void dt_bf16_multiply_by(dt_bf16_units units, dt_bf16_factor a, dt_bf16_factor b, size_t rows, size_t columns,
                         size_t depth, bool accumulate, float *c, size_t c_stride, float *scratch) {
    multiply(instructions_of(units), a, b, rows, columns, depth, accumulate, c, c_stride, (uint32_t *)scratch);
}

void dt_bf16_multiply_packed_by(dt_bf16_units units, dt_bf16_factor a, const float *packed, size_t rows, size_t columns,
                                size_t depth, bool accumulate, float *c, size_t c_stride, float *scratch) {
    multiply_packed(instructions_of(units), a, (const uint32_t *)packed, rows, columns, depth, accumulate, c, c_stride,
                    (uint32_t *)scratch);
}

void dt_bf16_multiply_pairs_by(dt_bf16_units units, const void *a, size_t a_row, const void *b, size_t b_step,
                               size_t pairs, size_t rows, size_t columns, bool accumulate, float *c, size_t c_stride) {
    multiply_pairs(instructions_of(units), (left_pairs){a, a_row, 1}, (right_pairs){b, b_step}, pairs, rows, columns,
                   accumulate, c, c_stride);
}
