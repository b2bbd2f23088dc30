#include "grouped.h"
#include "element.h"
#include "window_inside.h"

enum {
    SIDE = 3,                      // of the kernel
    SPREADS = 4,                   // inputs of a group that are spread at once
    TILE = 8,                      // output pixels whose sums stay in registers
    CHUNK = 512,                   // channels × group size whose weights, 18 KiB, stay in the first cache
};

/// Weights of one kernel row and SPREADS inputs for 16 outputs, or their gradients.
typedef struct { vector at[SIDE][SPREADS]; } row_weights;

/// The inputs first … first + 3 of each lane's group.
#define SPREAD(v, size, i) \
    ((size) == 4 ? __builtin_shufflevector(v, v, i, i, i, i, i + 4, i + 4, i + 4, i + 4, i + 8, i + 8, i + 8, i + 8,         \
                                           i + 12, i + 12, i + 12, i + 12)                                              \
                 : __builtin_shufflevector(v, v, i, i, i, i, i, i, i, i, i + 8, i + 8, i + 8, i + 8, i + 8, i + 8, i + 8,    \
                                           i + 8))
DT_INLINE void spread(const vector *inputs, const size_t group_size, const size_t first, vector spread[SPREADS]) {
    const vector v = *inputs;
    if (first == 0) {
        spread[0] = SPREAD(v, group_size, 0);
        spread[1] = SPREAD(v, group_size, 1);
        spread[2] = SPREAD(v, group_size, 2);
        spread[3] = SPREAD(v, group_size, 3);
    } else {
        spread[0] = SPREAD(v, 8, 4);
        spread[1] = SPREAD(v, 8, 5);
        spread[2] = SPREAD(v, 8, 6);
        spread[3] = SPREAD(v, 8, 7);
    }
}

/// Adds what one input line, whose column 0 is element `offset`, gives `tile` output pixels from column `ox` on.
DT_INLINE void add_line(dt_pixels x, ptrdiff_t offset, const int is_bf16, size_t ox, size_t width,
                        const row_weights *weights, const size_t group_size, const size_t first, const size_t tile,
                        vector *sums) {
#pragma clang loop unroll(full)
    for (size_t column = 0; column < tile + SIDE - 1; column++) {
        const ptrdiff_t input = (ptrdiff_t)(ox + column) - 1;
        // Only a tile's outer columns can lie in the padding.
        if (column == 0 && input < 0) continue;
        if (column == tile + 1 && input >= (ptrdiff_t)width) continue;
        vector pixel, inputs[SPREADS];
        load(x.elements.start, offset + input * (ptrdiff_t)x.stride, is_bf16, VECTOR_LENGTH, &pixel);
        spread(&pixel, group_size, first, inputs);
#pragma clang loop unroll(full)
        for (size_t kx = 0; kx < SIDE; kx++) {
            if (column < kx || column - kx >= tile) continue;
#pragma clang loop unroll(full)
            for (size_t i = 0; i < SPREADS; i++) sums[column - kx] += inputs[i] * weights->at[kx][i];
        }
    }
}

/// 16 channels, from `c` on, of `tile` output pixels of `line` from column `ox` on.
DT_INLINE void forward_tile(dt_pixels x, const row_weights *weights, const float *bias, const size_t group_size,
                            const dt_window *w, size_t line, kernel_rows valid, size_t ox, size_t c, const size_t tile,
                            dt_pixels y, int accumulate, const int x_is_bf16, const int y_is_bf16) {
    vector sums[TILE];
    for (size_t p = 0; p < tile; p++) {
        sums[p] = (vector){0};
        if (bias) load_floats(bias + c, &sums[p]);
    }
    const size_t steps = group_size / SPREADS;
    const ptrdiff_t top = (ptrdiff_t)(line / w->output_height * w->height) + valid.top;
    for (size_t ky = valid.first; ky < valid.last; ky++) {
        const ptrdiff_t offset = (top + (ptrdiff_t)ky) * (ptrdiff_t)(w->width * x.stride) + (ptrdiff_t)c;
#pragma clang loop unroll(full)
        for (size_t step = 0; step < steps; step++)
            add_line(x, offset, x_is_bf16, ox, w->width, weights + ky * steps + step, group_size, step * SPREADS, tile, sums);
    }
    for (size_t p = 0; p < tile; p++)
        store(&sums[p], y.elements.start, (line * w->output_width + ox + p) * y.stride + c, y_is_bf16, VECTOR_LENGTH,
              accumulate);
}

DT_INLINE void forward(dt_pixels x, const float *packed, const float *bias, size_t channels, const size_t group_size,
                       dt_window w, size_t first_line, size_t lines, dt_pixels y, int accumulate, const int x_is_bf16,
                       const int y_is_bf16) {
    const size_t chunk = CHUNK / group_size;
    for (size_t first = 0; first < channels; first += chunk)
        for (size_t line = first_line; line < first_line + lines; line++) {
            const kernel_rows valid = valid_rows(&w, line);
            size_t ox = 0;
#define TILES_OF(pixels)                                                                                               \
    for (; ox + pixels <= w.output_width; ox += pixels)                                                                \
        for (size_t c = first; c < smaller(first + chunk, channels); c += VECTOR_LENGTH)                               \
            forward_tile(x, (const row_weights *)packed + c / VECTOR_LENGTH * (SIDE * group_size / SPREADS), bias,     \
                         group_size, &w, line, valid, ox, c, pixels, y, accumulate, x_is_bf16, y_is_bf16);
            TILES_OF(TILE)
            TILES_OF(4)
            TILES_OF(2)
            TILES_OF(1)
#undef TILES_OF
        }
}

/// One copy of BODY(group_size, x_is_bf16, y_is_bf16) for each kind of elements and groups.
#define FOR_EACH_KIND(group_size, x, y, BODY)                                   \
    {                                                                           \
        const int x_is_bf16 = x.elements.is_bf16, y_is_bf16 = y.elements.is_bf16; \
        if (group_size == 4) {                                                  \
            if (x_is_bf16 && y_is_bf16) BODY(4, 1, 1)                           \
            else if (x_is_bf16) BODY(4, 1, 0)                                   \
            else if (y_is_bf16) BODY(4, 0, 1)                                   \
            else BODY(4, 0, 0)                                                  \
        } else {                                                                \
            if (x_is_bf16 && y_is_bf16) BODY(8, 1, 1)                           \
            else if (x_is_bf16) BODY(8, 1, 0)                                   \
            else if (y_is_bf16) BODY(8, 0, 1)                                   \
            else BODY(8, 0, 0)                                                  \
        }                                                                       \
    }

DT_DISPATCH_AVX512
void dt_grouped_forward(dt_pixels x, const float *packed, const float *bias, size_t channels, size_t group_size,
                        dt_window window, size_t first_line, size_t lines, dt_pixels y, int accumulate) {
#define BODY(size, x_is_bf16, y_is_bf16) \
    forward(x, packed, bias, channels, size, window, first_line, lines, y, accumulate, x_is_bf16, y_is_bf16);
    FOR_EACH_KIND(group_size, x, y, BODY)
#undef BODY
}

/// sums += the gradient over an input line and the output line that it is seen from; their first elements are `input` and
/// `output`.
DT_INLINE void weight_gradient_line(dt_pixels x, ptrdiff_t input, const int x_is_bf16, dt_pixels dy, ptrdiff_t output,
                                    const int dy_is_bf16, size_t width, const size_t group_size, const size_t first,
                                    row_weights *sums) {
    // Of the line alone: so rounding grows with its length, not with that of the image.
    row_weights sum = {0};
    // The gradients that the kernel's right, middle and left column connect with the pixel.
    vector before = {0}, at, behind;
    load(dy.elements.start, output, dy_is_bf16, VECTOR_LENGTH, &at);
    for (size_t column = 0; column < width; column++) {
        vector pixel, inputs[SPREADS];
        load(x.elements.start, input + (ptrdiff_t)(column * x.stride), x_is_bf16, VECTOR_LENGTH, &pixel);
        spread(&pixel, group_size, first, inputs);
        behind = (vector){0};
        if (column + 1 < width)
            load(dy.elements.start, output + (ptrdiff_t)((column + 1) * dy.stride), dy_is_bf16, VECTOR_LENGTH, &behind);
#pragma clang loop unroll(full)
        for (size_t i = 0; i < SPREADS; i++) {
            sum.at[0][i] += inputs[i] * behind;
            sum.at[1][i] += inputs[i] * at;
            sum.at[2][i] += inputs[i] * before;
        }
        before = at;
        at = behind;
    }
    for (size_t kx = 0; kx < SIDE; kx++)
        for (size_t i = 0; i < SPREADS; i++) sums->at[kx][i] += sum.at[kx][i];
}

DT_INLINE void weight_gradient(dt_pixels x, dt_pixels dy, size_t channels, const size_t group_size, dt_window w,
                               size_t first_line, size_t lines, float *sums, const int x_is_bf16, const int dy_is_bf16) {
    const size_t steps = group_size / SPREADS;
    for (size_t line = first_line; line < first_line + lines; line++) {
        const kernel_rows valid = valid_rows(&w, line);
        const ptrdiff_t top = (ptrdiff_t)(line / w.output_height * w.height) + valid.top;
        row_weights *block = (row_weights *)sums;
        for (size_t c = 0; c < channels; c += VECTOR_LENGTH, block += SIDE * steps)
            for (size_t ky = valid.first; ky < valid.last; ky++) {
                const ptrdiff_t input = (top + (ptrdiff_t)ky) * (ptrdiff_t)(w.width * x.stride) + (ptrdiff_t)c;
                const ptrdiff_t output = (ptrdiff_t)(line * w.output_width * dy.stride + c);
#pragma clang loop unroll(full)
                for (size_t step = 0; step < steps; step++)
                    weight_gradient_line(x, input, x_is_bf16, dy, output, dy_is_bf16, w.width, group_size, step * SPREADS,
                                         block + ky * steps + step);
            }
    }
}

DT_DISPATCH_AVX512
void dt_grouped_weight_gradient(dt_pixels x, dt_pixels dy, size_t channels, size_t group_size, dt_window window,
                                size_t first_line, size_t lines, float *sums) {
#define BODY(size, x_is_bf16, dy_is_bf16) \
    weight_gradient(x, dy, channels, size, window, first_line, lines, sums, x_is_bf16, dy_is_bf16);
    FOR_EACH_KIND(group_size, x, dy, BODY)
#undef BODY
}

/// Calls BODY(p, output, ky, kx, input) for each packed weight p: `input` counts within the output's group.
#define FOR_EACH_WEIGHT(BODY)                                                                                         \
    {                                                                                                                 \
        size_t p = first_block * VECTOR_LENGTH * SIDE * SIDE * group_size;                                            \
        for (size_t block = first_block; block < first_block + block_count; block++)                                  \
            for (size_t ky = 0; ky < SIDE; ky++)                                                                      \
                for (size_t step = 0; step < group_size; step += SPREADS)                                             \
                    for (size_t kx = 0; kx < SIDE; kx++)                                                              \
                        for (size_t input = step; input < step + SPREADS; input++)                                    \
                            for (size_t lane = 0; lane < VECTOR_LENGTH; lane++, p++) {                                \
                                const size_t output = block * VECTOR_LENGTH + lane;                                   \
                                BODY                                                                                  \
                            }                                                                                         \
    }

/// Weights lie as output × kernel row × kernel column × input.
DT_INLINE size_t place(size_t output, size_t ky, size_t kx, size_t input, size_t group_size) {
    return ((output * SIDE + ky) * SIDE + kx) * group_size + input;
}

void dt_grouped_pack(const float *weights, size_t group_size, size_t first_block, size_t block_count, int is_turned,
                     float *packed) {
    // Turned, an output and an input of the group change places, and the kernel is turned by half.
    if (is_turned)
        FOR_EACH_WEIGHT({
            const size_t lane_in_group = output % group_size;
            packed[p] = weights[place(output - lane_in_group + input, SIDE - 1 - ky, SIDE - 1 - kx, lane_in_group, group_size)];
        })
    else
        FOR_EACH_WEIGHT({ packed[p] = weights[place(output, ky, kx, input, group_size)]; })
}

void dt_grouped_unpack(const float *packed, size_t group_size, size_t first_block, size_t block_count, int accumulate,
                       float *gradient) {
    FOR_EACH_WEIGHT({
        float *target = gradient + place(output, ky, kx, input, group_size);
        *target = packed[p] + (accumulate ? *target : 0);
    })
}
