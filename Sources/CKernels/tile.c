#include "tile.h"
#include "dispatch.h"

// Registers decide the tile's size, so each instruction set has a copy of its own, chosen when the program is loaded.

#define LANES 4
#define ROWS 4
#define TARGET
#define NAME(x) baseline_##x
#include "tile_template.h"
#undef LANES
#undef ROWS
#undef TARGET
#undef NAME

#if defined(__x86_64__) && !defined(DT_NO_DISPATCH)
#define LANES 8
#define ROWS 6
#define TARGET __attribute__((target("avx2,fma")))
#define NAME(x) avx2_##x
#include "tile_template.h"
#undef LANES
#undef ROWS
#undef TARGET
#undef NAME

#define LANES 16
#define ROWS 12
#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#define NAME(x) avx512_##x
#include "tile_template.h"
#undef LANES
#undef ROWS
#undef TARGET
#undef NAME

static int found;

__attribute__((constructor)) static void find_level(void) {
    __builtin_cpu_init();
    found = __builtin_cpu_supports("x86-64-v4") ? 2 : __builtin_cpu_supports("x86-64-v3") ? 1 : 0;
}

static int level(void) { return found; }
#else
static int level(void) { return 0; }
#endif

size_t dt_tile_panel(void) { return (size_t)8 << level(); }
size_t dt_tile_granularity(void) { return (size_t)2 << level(); }

void dt_tile_multiply(const float *a, ptrdiff_t a_row, const float *b, const dt_tile_sum *sum, size_t rows,
                      size_t columns, dt_tile_mode mode, const float *initial, float *c, ptrdiff_t c_row) {
    switch (level()) {
#if defined(__x86_64__) && !defined(DT_NO_DISPATCH)
    case 2: avx512_multiply(a, a_row, b, sum, rows, columns, mode, initial, c, c_row); break;
    case 1: avx2_multiply(a, a_row, b, sum, rows, columns, mode, initial, c, c_row); break;
#endif
    default: baseline_multiply(a, a_row, b, sum, rows, columns, mode, initial, c, c_row); break;
    }
}

void dt_pack_panels(const float *b, size_t depth, size_t columns, size_t row_step, size_t column_step, size_t panel,
                    float *panels) {
    for (size_t first = 0; first < columns; first += panel) {
        const size_t count = smaller(columns - first, panel);
        const float *from = b + first * column_step;
        for (size_t k = 0; k < depth; k++, panels += panel) {
            if (column_step == 1)
                memcpy(panels, from + k * row_step, count * sizeof *panels);
            else
                for (size_t j = 0; j < count; j++) panels[j] = from[k * row_step + j * column_step];
            for (size_t j = count; j < panel; j++) panels[j] = 0;
        }
    }
}
