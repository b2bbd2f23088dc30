#include "bf16_vectors.h"

// Intel's Advanced Matrix Extensions (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18): eight
// registers of 16 rows of 64 bytes, called tiles. One instruction multiplies 16 rows by 16 columns over 16 pairs.

#if DT_BF16_VECTORS && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILE_TARGET __attribute__((target("amx-tile,amx-bf16," DT_BF16_FEATURES)))

enum {
    TILE_LINES = 16,
    TILE_PAIRS = 16,
    /// Two tiles of rows by two of columns: four products for four tiles that are loaded.
    TILE_ROWS = 2 * TILE_LINES,
};

// Which tile has what. Instructions name them by constants.
#define SUM(i, j) (2 * (i) + (j))
#define LEFT(i) (4 + (i))
#define RIGHT(j) (6 + (j))

/// The tiles' shapes, as LDTILECFG reads them. Rows and columns outside are neither read nor written.
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;
_Static_assert(sizeof(tile_shapes) == 64, "LDTILECFG reads 64 bytes");

static size_t part(size_t count, size_t index) {
    const size_t first = index * TILE_LINES;
    return count > first ? smaller(TILE_LINES, count - first) : 0;
}

/// A tile that is not used has neither rows nor columns: LDTILECFG refuses one alone.
static void set_shape(tile_shapes *shapes, size_t tile, size_t rows, size_t columns) {
    if (rows == 0 || columns == 0) return;
    shapes->rows[tile] = (uint8_t)rows;
    shapes->row_bytes[tile] = (uint16_t)(columns * sizeof(uint32_t));
}

/// Shapes for products over `depth` ≤ TILE_PAIRS pairs at a time.
static tile_shapes shapes(size_t rows, size_t columns, size_t depth) {
    tile_shapes s = {.palette = 1};
    for (size_t i = 0; i < 2; i++) {
        set_shape(&s, LEFT(i), part(rows, i), depth);
        set_shape(&s, RIGHT(i), depth, part(columns, i));
        for (size_t j = 0; j < 2; j++) set_shape(&s, SUM(i, j), part(rows, i), part(columns, j));
    }
    return s;
}

/// A product with one or two tiles of rows and of columns, over `steps` times as many pairs as the tiles are shaped for.
DT_INLINE TILE_TARGET void multiply(left_pairs a, right_pairs b, size_t steps, const bool tall, const bool wide,
                                    bool accumulate, float *c, size_t c_stride) {
    const size_t a_bytes = a.row * sizeof *a.start, b_bytes = b.step * sizeof *b.start, c_bytes = c_stride * sizeof *c;
    float *const low = c + TILE_LINES * c_stride;
    if (accumulate) {
        _tile_loadd(SUM(0, 0), c, c_bytes);
        if (wide) _tile_loadd(SUM(0, 1), c + TILE_LINES, c_bytes);
        if (tall) _tile_loadd(SUM(1, 0), low, c_bytes);
        if (tall && wide) _tile_loadd(SUM(1, 1), low + TILE_LINES, c_bytes);
    } else {
        _tile_zero(SUM(0, 0));
        if (wide) _tile_zero(SUM(0, 1));
        if (tall) _tile_zero(SUM(1, 0));
        if (tall && wide) _tile_zero(SUM(1, 1));
    }
    for (size_t step = 0; step < steps; step++) {
        _tile_loadd(RIGHT(0), b.start, b_bytes);
        if (wide) _tile_loadd(RIGHT(1), b.start + TILE_LINES, b_bytes);
        _tile_loadd(LEFT(0), a.start, a_bytes);
        _tile_dpbf16ps(SUM(0, 0), LEFT(0), RIGHT(0));
        if (wide) _tile_dpbf16ps(SUM(0, 1), LEFT(0), RIGHT(1));
        if (tall) {
            _tile_loadd(LEFT(1), a.start + TILE_LINES * a.row, a_bytes);
            _tile_dpbf16ps(SUM(1, 0), LEFT(1), RIGHT(0));
            if (wide) _tile_dpbf16ps(SUM(1, 1), LEFT(1), RIGHT(1));
        }
        a.start += TILE_PAIRS, b.start += TILE_PAIRS * b.step;
    }
    _tile_stored(SUM(0, 0), c, c_bytes);
    if (wide) _tile_stored(SUM(0, 1), c + TILE_LINES, c_bytes);
    if (tall) _tile_stored(SUM(1, 0), low, c_bytes);
    if (tall && wide) _tile_stored(SUM(1, 1), low + TILE_LINES, c_bytes);
}

/// What the tiles are shaped for, in this thread; to shape them takes as long as some products.
static _Thread_local struct { size_t rows, columns, depth; } shaped;

TILE_TARGET static void multiply_steps(left_pairs a, right_pairs b, size_t depth, size_t steps, size_t rows, size_t columns,
                                       bool accumulate, float *c, size_t c_stride) {
    if (rows != shaped.rows || columns != shaped.columns || depth != shaped.depth) {
        const tile_shapes s = shapes(rows, columns, depth);
        _tile_loadconfig(&s);
        shaped.rows = rows, shaped.columns = columns, shaped.depth = depth;
    }
    const bool tall = rows > TILE_LINES, wide = columns > TILE_LINES;
    if (tall && wide) multiply(a, b, steps, true, true, accumulate, c, c_stride);
    else if (tall) multiply(a, b, steps, true, false, accumulate, c, c_stride);
    else if (wide) multiply(a, b, steps, false, true, accumulate, c, c_stride);
    else multiply(a, b, steps, false, false, accumulate, c, c_stride);
}

/// Neighbouring terms of the left factor lie side by side. What is left of the depth is multiplied with tiles of its own size.
TILE_TARGET static void tile_of(left_pairs a, right_pairs b, size_t pairs, size_t rows, size_t columns, bool accumulate,
                                float *c, size_t c_stride) {
    const size_t steps = pairs / TILE_PAIRS, whole = steps * TILE_PAIRS;
    if (steps > 0 || pairs == 0) multiply_steps(a, b, TILE_PAIRS, steps, rows, columns, accumulate, c, c_stride);
    if (pairs > whole) {
        a.start += whole, b.start += whole * b.step;
        multiply_steps(a, b, pairs - whole, 1, rows, columns, accumulate || whole > 0, c, c_stride);
    }
}

/// Others, such as oneDNN, shape the tiles for themselves; and the kernel would save them with every change of threads.
TILE_TARGET static void release(void) {
    _tile_release();
    shaped.rows = 0;
}

/// The panel has rows of pairs, as tiles do.
TARGET static left_pairs pack_left(dt_bf16_factor f, size_t first_line, size_t lines, size_t depth, size_t first_pair,
                                   size_t pairs, uint32_t *to) {
    // Whole cache lines.
    const size_t row = dt_bf16_row(pairs);
    for (size_t line = 0; line < lines; line += TILE_LINES) {
        const size_t count = smaller(TILE_LINES, lines - line);
        for (size_t pair = 0; pair < pairs; pair += TILE_PAIRS) {
            const size_t term = 2 * (first_pair + pair), length = smaller(TILE_PAIRS, pairs - pair);
            uint32_t *place = to + line * row + pair;
            if (f.along) {
                const float *from = f.start + (first_line + line) * f.stride + term;
                for (size_t i = 0; i < count; i++)
                    _mm512_storeu_si512(place + i * row, pairs_along(from + i * f.stride, smaller(32, depth - term)));
                continue;
            }
            const float *from = f.start + term * f.stride + first_line + line;
            __m512i rows[16];
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 16; i++) {
                const float *one = from + 2 * i * f.stride;
                const float *other = term + 2 * i + 1 < depth ? one + f.stride : NULL;
                if (i < length) rows[i] = pairs_across(one, other, first_lanes(count));
                else rows[i] = _mm512_setzero_si512();
            }
            store_transposed(rows, count, place, row);
        }
    }
    return (left_pairs){to, row, 1};
}

static const dt_bf16_instructions amx = {TILE_ROWS, TILE_ROWS, dt_bf16_pack_right, pack_left, tile_of, release};
const dt_bf16_instructions *dt_bf16_amx(void) { return &amx; }

/// Whether the processor has tiles of bf16, and the system gives them to this process, which must ask (Linux from 5.16 on).
bool dt_bf16_has_amx(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    return (edx & AMX_BF16) && (edx & AMX_TILE) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#else
const dt_bf16_instructions *dt_bf16_amx(void) { return NULL; }
bool dt_bf16_has_amx(void) { return false; }
#endif
