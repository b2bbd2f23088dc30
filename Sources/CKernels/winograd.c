#include "winograd.h"
#include "element.h"

enum { LANES = DT_WINOGRAD_LANES, SIDE = 6, PLANES = DT_WINOGRAD_PLANES };

// Polynomials of degree 5 are evaluated at 0, ±P, ±Q and infinity. 5/8 and 3/2 keep the transforms' condition, and with it the
// rounding, well below that of the textbook's 1 and 2; their powers are exact in fp32.
#define P 0.625f
#define Q 1.5f
#define P2 (P * P)
#define Q2 (Q * Q)
static const float power_p[5] = {1, P, P2, P2 *P, P2 *P2}, power_q[5] = {1, Q, Q2, Q2 *Q, Q2 *Q2};
// 1 / Π (p − q) over the other finite points.
#define SCALE_0 (1 / (P2 * Q2))
#define SCALE_P (1 / (2 * P2 * (P2 - Q2)))
#define SCALE_Q (1 / (2 * Q2 * (Q2 - P2)))

#define UNROLLED _Pragma("clang loop unroll(full)")

/// Bᵀ: 6 values `step` apart to 6.
DT_INLINE void transform_input(const vector *d, size_t step, vector *v, size_t v_step) {
    const vector even_p = d[4 * step] - Q2 * d[2 * step], odd_p = d[3 * step] - Q2 * d[step];
    const vector even_q = d[4 * step] - P2 * d[2 * step], odd_q = d[3 * step] - P2 * d[step];
    v[0] = P2 * Q2 * d[0] - (P2 + Q2) * d[2 * step] + d[4 * step];
    v[v_step] = even_p + P * odd_p;
    v[2 * v_step] = even_p - P * odd_p;
    v[3 * v_step] = even_q + Q * odd_q;
    v[4 * v_step] = even_q - Q * odd_q;
    v[5 * v_step] = P2 * Q2 * d[step] - (P2 + Q2) * d[3 * step] + d[5 * step];
}

/// G: the kernel's `taps` values to 6.
DT_INLINE void transform_kernel(const int taps, const vector *g, size_t step, vector *u, size_t u_step) {
    vector even_p = {0}, odd_p = {0}, even_q = {0}, odd_q = {0};
    UNROLLED for (int i = 0; i < taps; i++) {
        if (i % 2 == 0) even_p += power_p[i] * g[i * step], even_q += power_q[i] * g[i * step];
        else odd_p += power_p[i] * g[i * step], odd_q += power_q[i] * g[i * step];
    }
    u[0] = SCALE_0 * g[0];
    u[u_step] = SCALE_P * (even_p + odd_p);
    u[2 * u_step] = SCALE_P * (even_p - odd_p);
    u[3 * u_step] = SCALE_Q * (even_q + odd_q);
    u[4 * u_step] = SCALE_Q * (even_q - odd_q);
    u[5 * u_step] = g[(taps - 1) * step];
}

/// Aᵀ: 6 values to `outputs`.
DT_INLINE void transform_output(const int outputs, const vector *m, size_t step, vector *y, size_t y_step) {
    const vector sum_p = m[step] + m[2 * step], difference_p = m[step] - m[2 * step];
    const vector sum_q = m[3 * step] + m[4 * step], difference_q = m[3 * step] - m[4 * step];
    UNROLLED for (int i = 0; i < outputs; i++) {
        vector value = i % 2 == 0 ? power_p[i] * sum_p + power_q[i] * sum_q
                                  : power_p[i] * difference_p + power_q[i] * difference_q;
        if (i == 0) value += m[0];
        if (i == outputs - 1) value += m[5 * step];
        y[i * y_step] = value;
    }
}

// MARK: Transformed values

/// How a row of transformed values is written: as it is, or as the first or second row of a pair.
typedef enum { FLOATS = DT_WINOGRAD_FLOATS, HALVES = DT_WINOGRAD_HALVES, FIRST_OF_PAIR, SECOND_OF_PAIR } row_form;

DT_INLINE row_form form_of(dt_winograd_form form, size_t row) {
    return form != DT_WINOGRAD_PAIRS ? (row_form)form : row % 2 == 0 ? FIRST_OF_PAIR : SECOND_OF_PAIR;
}

/// The floats before a row.
DT_INLINE size_t row_start(dt_winograd_form form, size_t row, size_t stride) {
    return (form == DT_WINOGRAD_PAIRS ? row / 2 : row) * stride;
}

/// Writes 16 transformed values of a row from its element `c` on. The first row of a pair clears the second, which may be
/// missing. bf16 is to the nearest, ties to the even one.
DT_INLINE void keep(const row_form form, const vector *value, float *row, size_t c) {
    if (form == FLOATS) {
        *(vector *)(row + c) = *value;
        return;
    }
    vector_bits nearest;
    round_upper_half(value, &nearest);
    vector_bits *pairs = (vector_bits *)(row + c);
    if (form == HALVES) *(half_vector *)((uint16_t *)row + c) = __builtin_convertvector(nearest >> 16, half_vector);
    else if (form == FIRST_OF_PAIR) *pairs = nearest >> 16;
    else *pairs |= nearest & 0xffff0000;
}

/// Calls a function of a constant form.
#define WITH_FORM(form, row, function, ...)                                      \
    switch (form_of(form, row)) {                                                \
    case FLOATS: function(FLOATS, __VA_ARGS__); break;                           \
    case HALVES: function(HALVES, __VA_ARGS__); break;                           \
    case FIRST_OF_PAIR: function(FIRST_OF_PAIR, __VA_ARGS__); break;             \
    case SECOND_OF_PAIR: function(SECOND_OF_PAIR, __VA_ARGS__); break;           \
    }

// MARK: Input

DT_INLINE void input_tile(const row_form form, const int is_bf16, const void *image, size_t height, size_t width,
                          size_t channels, size_t pixel_stride, ptrdiff_t top, ptrdiff_t left, float *v, size_t plane) {
    const int inside = top >= 0 && left >= 0 && top + SIDE <= (ptrdiff_t)height && left + SIDE <= (ptrdiff_t)width;
    const ptrdiff_t corner = (top * (ptrdiff_t)width + left) * (ptrdiff_t)pixel_stride;
    for (size_t c = 0; c < channels; c += LANES) {
        vector d[PLANES], half[PLANES], out[SIDE];
        const size_t count = channels - c;
        if (inside && count >= LANES) {
            UNROLLED for (size_t i = 0; i < SIDE; i++) {
                UNROLLED for (size_t j = 0; j < SIDE; j++)
                    load(image, corner + (ptrdiff_t)((i * width + j) * pixel_stride + c), is_bf16, LANES, &d[i * SIDE + j]);
            }
        } else
            for (ptrdiff_t i = 0; i < SIDE; i++)
                for (ptrdiff_t j = 0; j < SIDE; j++) {
                    const int there = top + i >= 0 && top + i < (ptrdiff_t)height && left + j >= 0 &&
                                      left + j < (ptrdiff_t)width;
                    const ptrdiff_t offset = corner + (i * (ptrdiff_t)width + j) * (ptrdiff_t)pixel_stride + (ptrdiff_t)c;
                    load(image, there ? offset : 0, is_bf16, there ? count : 0, &d[i * SIDE + j]);
                }
        UNROLLED for (size_t j = 0; j < SIDE; j++) transform_input(d + j, SIDE, half + j, SIDE);
        UNROLLED for (size_t i = 0; i < SIDE; i++) {
            transform_input(half + i * SIDE, 1, out, 1);
            UNROLLED for (size_t j = 0; j < SIDE; j++) keep(form, &out[j], v + (i * SIDE + j) * plane, c);
        }
    }
}

DT_INLINE void input_tiles(const int is_bf16, size_t kernel, const void *image, size_t height, size_t width,
                           size_t channels, size_t pixel_stride, ptrdiff_t top, ptrdiff_t left, size_t tiles,
                           dt_winograd_form form, size_t first, float *v, size_t row, size_t plane) {
    const ptrdiff_t tile_step = (ptrdiff_t)(SIDE + 1 - kernel);
    for (size_t tile = first; tile < first + tiles; tile++, left += tile_step)
        WITH_FORM(form, tile, input_tile, is_bf16, image, height, width, channels, pixel_stride, top, left,
                  v + row_start(form, tile, row), plane)
}

DT_DISPATCH
void dt_winograd_input(size_t kernel, dt_elements image, size_t height, size_t width, size_t channels,
                       size_t pixel_stride, ptrdiff_t top, ptrdiff_t left, size_t tiles, dt_winograd_form form,
                       size_t first, float *v, size_t row, size_t plane) {
#define ARGUMENTS kernel, image.start, height, width, channels, pixel_stride, top, left, tiles, form, first, v, row, plane
    if (image.is_bf16) input_tiles(1, ARGUMENTS);
    else input_tiles(0, ARGUMENTS);
#undef ARGUMENTS
}

// MARK: Output

DT_INLINE void output_tiles(const int side, const int is_bf16, const float *m, size_t row, size_t plane, size_t tiles,
                            size_t channels, const float *bias, int accumulate, void *y, size_t pixel_stride, size_t lines,
                            size_t width) {
    for (size_t tile = 0; tile < tiles; tile++, m += row) {
        const size_t left = tile * (size_t)side, columns = smaller(width - left, (size_t)side);
        for (size_t c = 0; c < channels; c += LANES) {
            vector values[PLANES], half[4 * SIDE], out[16], initial = {0};
            const size_t count = channels - c;
            UNROLLED for (size_t i = 0; i < PLANES; i++) values[i] = *(const vector *)(m + i * plane + c);
            UNROLLED for (size_t j = 0; j < SIDE; j++) transform_output(side, values + j, SIDE, half + j, SIDE);
            if (bias) load(bias, (ptrdiff_t)c, 0, count, &initial);
            UNROLLED for (int i = 0; i < side; i++) {
                transform_output(side, half + i * SIDE, 1, out + i * side, 1);
                UNROLLED for (int j = 0; j < side; j++) out[i * side + j] += initial;
            }
            const size_t to = left * pixel_stride + c;
            if (lines >= (size_t)side && columns == (size_t)side && count >= LANES) {
                UNROLLED for (size_t i = 0; i < (size_t)side; i++) {
                    UNROLLED for (size_t j = 0; j < (size_t)side; j++)
                        store(&out[i * (size_t)side + j], y, to + (i * width + j) * pixel_stride, is_bf16, LANES, accumulate);
                }
            } else
                for (size_t i = 0; i < smaller(lines, (size_t)side); i++)
                    for (size_t j = 0; j < columns; j++)
                        store(&out[i * (size_t)side + j], y, to + (i * width + j) * pixel_stride, is_bf16, count, accumulate);
        }
    }
}

DT_DISPATCH
void dt_winograd_output(size_t kernel, const float *m, size_t row, size_t plane, size_t tiles, size_t channels,
                        const float *bias, int accumulate, dt_elements y, size_t pixel_stride, size_t lines,
                        size_t width) {
#define ARGUMENTS m, row, plane, tiles, channels, bias, accumulate, y.start, pixel_stride, lines, width
    if (kernel == 3 && y.is_bf16) output_tiles(4, 1, ARGUMENTS);
    else if (kernel == 3) output_tiles(4, 0, ARGUMENTS);
    else if (y.is_bf16) output_tiles(2, 1, ARGUMENTS);
    else output_tiles(2, 0, ARGUMENTS);
#undef ARGUMENTS
}

// MARK: Weights

/// G g Gᵀ for 16 columns of one row, from taps that lie 16 floats apart.
DT_INLINE void weight_tile(const row_form form, const int taps, const float *g, int turned, float *u, size_t plane) {
    vector values[25], half[5 * SIDE], out[SIDE];
    UNROLLED for (int i = 0; i < taps * taps; i++)
        values[i] = *(const vector *)(g + (turned ? taps * taps - 1 - i : i) * LANES);
    UNROLLED for (int j = 0; j < taps; j++) transform_kernel(taps, values + j, (size_t)taps, half + j, (size_t)taps);
    UNROLLED for (int i = 0; i < SIDE; i++) {
        transform_kernel(taps, half + i * taps, 1, out, 1);
        UNROLLED for (int j = 0; j < SIDE; j++) keep(form, &out[j], u + (size_t)(i * SIDE + j) * plane, 0);
    }
}

DT_INLINE void weights_of(const int taps, const float *weights, size_t outputs, size_t inputs, int turned, size_t panel,
                          size_t first_row, size_t end_row, dt_winograd_form form, float *u, size_t plane) {
    const size_t positions = (size_t)(taps * taps), rows = turned ? outputs : inputs, columns = turned ? inputs : outputs;
    const size_t panel_rows = form == DT_WINOGRAD_PAIRS ? (rows + 1) / 2 : rows;
    for (size_t column = 0; column < columns; column += LANES) {
        const size_t count = smaller(columns - column, LANES), first = column / panel * panel;
        // The last panel may be narrower.
        const size_t panel_width = smaller((columns - first + LANES - 1) / LANES * LANES, panel);
        float *to = u + first * panel_rows + column - first;
        for (size_t block = first_row; block < end_row; block += LANES) {
            const size_t size = smaller(end_row - block, LANES);
            float taps_of[LANES][25 * LANES];
            if (turned)
                for (size_t r = 0; r < size; r++)
                    for (size_t i = 0; i < positions; i++) {
                        vector value;
                        load(weights, (ptrdiff_t)(((block + r) * positions + i) * inputs + column), 0, count, &value);
                        *(vector *)(taps_of[r] + i * LANES) = value;
                    }
            else
                for (size_t k = 0; k < LANES; k++)
                    for (size_t i = 0; i < positions; i++)
                        for (size_t r = 0; r < size; r++)
                            taps_of[r][i * LANES + k] =
                                k < count ? weights[((column + k) * positions + i) * inputs + block + r] : 0;
            for (size_t r = 0; r < size; r++)
                WITH_FORM(form, block + r, weight_tile, taps, taps_of[r], turned,
                          to + row_start(form, block + r, panel_width), plane)
        }
    }
}

DT_DISPATCH
void dt_winograd_weights(size_t kernel, const float *weights, size_t outputs, size_t inputs, int turned, size_t panel,
                         size_t first_row, size_t end_row, dt_winograd_form form, float *u, size_t plane) {
    if (kernel == 3) weights_of(3, weights, outputs, inputs, turned, panel, first_row, end_row, form, u, plane);
    else weights_of(5, weights, outputs, inputs, turned, panel, first_row, end_row, form, u, plane);
}

// MARK: Gradients

DT_INLINE void gradient_tile(const row_form form, const int side, const int is_bf16, const void *dz, size_t lines,
                             size_t columns, size_t width, size_t channels, size_t pixel_stride, float *z, size_t plane) {
    for (size_t c = 0; c < channels; c += LANES) {
        vector d[16], half[4 * SIDE], out[SIDE];
        const size_t count = channels - c;
        UNROLLED for (size_t i = 0; i < (size_t)side; i++) {
            UNROLLED for (size_t j = 0; j < (size_t)side; j++) {
                const int there = i < lines && j < columns;
                load(dz, (ptrdiff_t)((there ? (i * width + j) * pixel_stride : 0) + c), is_bf16, there ? count : 0,
                     &d[i * (size_t)side + j]);
            }
        }
        UNROLLED for (int j = 0; j < side; j++) transform_kernel(side, d + j, (size_t)side, half + j, (size_t)side);
        UNROLLED for (int i = 0; i < SIDE; i++) {
            transform_kernel(side, half + i * side, 1, out, 1);
            UNROLLED for (int j = 0; j < SIDE; j++) keep(form, &out[j], z + (size_t)(i * SIDE + j) * plane, c);
        }
    }
}

DT_INLINE void gradient_tiles(const int side, const int is_bf16, const void *dz, size_t lines, size_t width, size_t channels,
                              size_t pixel_stride, size_t tiles, dt_winograd_form form, size_t first, float *z, size_t row,
                              size_t plane) {
    for (size_t tile = 0; tile < tiles; tile++) {
        const size_t left = tile * (size_t)side, offset = left * pixel_stride;
        const void *corner = is_bf16 ? (const void *)((const uint16_t *)dz + offset) : (const float *)dz + offset;
        WITH_FORM(form, first + tile, gradient_tile, side, is_bf16, corner, lines, smaller(width - left, (size_t)side), width,
                  channels, pixel_stride, z + row_start(form, first + tile, row), plane)
    }
}

DT_DISPATCH
void dt_winograd_output_gradient(size_t kernel, dt_elements dz, size_t lines, size_t width, size_t channels,
                                 size_t pixel_stride, size_t tiles, dt_winograd_form form, size_t first, float *z,
                                 size_t row, size_t plane) {
#define ARGUMENTS dz.start, lines, width, channels, pixel_stride, tiles, form, first, z, row, plane
    if (kernel == 3 && dz.is_bf16) gradient_tiles(4, 1, ARGUMENTS);
    else if (kernel == 3) gradient_tiles(4, 0, ARGUMENTS);
    else if (dz.is_bf16) gradient_tiles(2, 1, ARGUMENTS);
    else gradient_tiles(2, 0, ARGUMENTS);
#undef ARGUMENTS
}

DT_INLINE void weight_gradient_of(const int taps, const float *sums, size_t plane, size_t inputs, size_t stride,
                                  int accumulate, float *gradient) {
    for (size_t c = 0; c < inputs; c += LANES) {
        vector values[PLANES], half[5 * SIDE], out[5];
        const size_t count = inputs - c;
        UNROLLED for (size_t i = 0; i < PLANES; i++) values[i] = *(const vector *)(sums + i * plane + c);
        UNROLLED for (size_t j = 0; j < SIDE; j++) transform_output(taps, values + j, SIDE, half + j, SIDE);
        UNROLLED for (int i = 0; i < taps; i++) {
            transform_output(taps, half + i * SIDE, 1, out, 1);
            UNROLLED for (int j = 0; j < taps; j++)
                store(&out[j], gradient, (size_t)(i * taps + j) * stride + c, 0, count, accumulate);
        }
    }
}

DT_DISPATCH
void dt_winograd_weight_gradient(size_t kernel, const float *sums, size_t plane, size_t inputs, size_t stride,
                                 int accumulate, float *gradient) {
    if (kernel == 3) weight_gradient_of(3, sums, plane, inputs, stride, accumulate, gradient);
    else weight_gradient_of(5, sums, plane, inputs, stride, accumulate, gradient);
}
