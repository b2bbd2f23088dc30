#include "pooling.h"
#include "bf16_order.h"
#include "pooling_window.h"

/// The position of a window whose maximum ReLU holds back: no gradient goes to any pixel.
enum { NO_WINNER = 255 };

DT_INLINE span inside(size_t output, size_t stride, size_t padding, size_t kernel, size_t extent) {
    span s = {(ptrdiff_t)(output * stride) - (ptrdiff_t)padding, 0, kernel};
    if (s.origin < 0) s.first = (size_t)-s.origin;
    if (s.origin + (ptrdiff_t)kernel > (ptrdiff_t)extent) s.last = (size_t)((ptrdiff_t)extent - s.origin);
    return s;
}

/// The windows that have an input row (or column).
DT_INLINE range windows_of(size_t input, size_t stride, size_t padding, size_t kernel, size_t outputs) {
    const size_t place = input + padding, last = place / stride + 1;
    return (range){place < kernel ? 0 : (place - kernel) / stride + 1, last < outputs ? last : outputs};
}

/// Windows that neither overlap nor leave a pixel out: each input pixel belongs to exactly one output.
DT_INLINE int tiles_exactly(const dt_window *w) {
    return w->padding_height == 0 && w->padding_width == 0 && w->stride_height == w->kernel_height &&
           w->stride_width == w->kernel_width && w->output_height * w->stride_height == w->height &&
           w->output_width * w->stride_width == w->width;
}

size_t dt_pool_line_group(dt_window w) { return tiles_exactly(&w) ? w.kernel_height : 1; }

/// Calls a function with the kind of elements, and whether it adds to them, as constants.
#define WITH_KIND(function, elements, accumulate, ...)                                 \
    if ((elements).is_bf16 && (accumulate)) function(1, __VA_ARGS__, 1);               \
    else if ((elements).is_bf16) function(1, __VA_ARGS__, 0);                          \
    else if (accumulate) function(0, __VA_ARGS__, 1);                                  \
    else function(0, __VA_ARGS__, 0);

// MARK: Maximum

DT_INLINE void take_maximum(const void *window, const int is_bf16, size_t channels, size_t width, span rows, span columns,
                            size_t kernel_width, size_t lanes, int relu, void *y, uint8_t *restrict winner) {
    float best[LANES];
    int32_t where[LANES];
    max_of_window(window, is_bf16, channels, width, rows, columns, kernel_width, lanes, best, where);
    for (size_t l = 0; l < lanes; l++) {
        set_value(y, is_bf16, l, relu && best[l] < 0 ? 0 : best[l]);
        winner[l] = (uint8_t)(relu && !(best[l] > 0) ? NO_WINNER : where[l]);
    }
}

/// The same for HALVES channels of bf16.
DT_INLINE void take_maximum_of_halves(const uint16_t *window, size_t channels, size_t width, span rows, span columns,
                                      size_t kernel_width, int relu, uint16_t *y, uint8_t *winner) {
    key_vector best, where;
    load_keys(window + (rows.first * width + columns.first) * channels, &best);
    where = (key_vector){0} + (uint16_t)(rows.first * kernel_width + columns.first);
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            key_vector key;
            load_keys(window + (ky * width + kx) * channels, &key);
            const key_vector wins = (key_vector)(key > best), position = (key_vector){0} + (uint16_t)(ky * kernel_width + kx);
            best = __builtin_elementwise_max(key, best);
            choose(&wins, &position, &where);
        }
    if (relu) {
        const key_vector is_number = (key_vector)(best <= LARGEST_KEY_OF_A_NUMBER), none = (key_vector){0} + NO_WINNER;
        const key_vector loses = ~is_number | (key_vector)(best <= KEY_OF_ZERO);
        const key_vector zero = (key_vector){0} + KEY_OF_ZERO, becomes_zero = loses & is_number;
        choose(&loses, &none, &where);
        choose(&becomes_zero, &zero, &best);
    }
    store_keys(&best, y);
    *(byte_vector *)winner = __builtin_convertvector(where, byte_vector);
}

/// Calls BODY for each pixel of some output lines, with its window's part inside the image, its number `output`, and `window`, the
/// first element of the window, which may lie before the image.
#define FOR_EACH_WINDOW(w, is_bf16, x, channels, first_line, lines, BODY)                                                     \
    for (size_t line = (first_line); line < (first_line) + (lines); line++) {                                                 \
        const size_t image = line / (w)->output_height, oy = line % (w)->output_height;                                       \
        const span rows = inside(oy, (w)->stride_height, (w)->padding_height, (w)->kernel_height, (w)->height);               \
        for (size_t ox = 0; ox < (w)->output_width; ox++) {                                                                   \
            const span columns = inside(ox, (w)->stride_width, (w)->padding_width, (w)->kernel_width, (w)->width);            \
            const size_t output = line * (w)->output_width + ox;                                                              \
            const ptrdiff_t pixel =                                                                                           \
                ((ptrdiff_t)(image * (w)->height) + rows.origin) * (ptrdiff_t)(w)->width + columns.origin;                    \
            const void *window = from_element(x, is_bf16, pixel * (ptrdiff_t)(channels));                                     \
            BODY                                                                                                              \
        }                                                                                                                     \
    }

DT_INLINE void max_forward(const int is_bf16, const void *x, size_t channels, const dt_window *w, size_t first_line,
                           size_t lines, int relu, void *y, size_t y_stride, uint8_t *winner) {
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        take_maximum(from_element(window, is_bf16, (ptrdiff_t)(c)), is_bf16, channels, w->width, rows, columns,               \
                     w->kernel_width, lanes, relu, from_element(y, is_bf16, (ptrdiff_t)(output * y_stride + (c))),            \
                     winner + output * channels + (c));                                                                       \
    }
    FOR_EACH_WINDOW(w, is_bf16, x, channels, first_line, lines, {
        if (is_bf16 && channels >= HALVES) {
            // The last vector may overlap the one before it.
            for (size_t c = 0; c < channels; c += HALVES) {
                const size_t at = smaller(c, channels - HALVES);
                take_maximum_of_halves((const uint16_t *)window + at, channels, w->width, rows, columns, w->kernel_width,
                                       relu, (uint16_t *)y + output * y_stride + at, winner + output * channels + at);
            }
        } else FOR_EACH_VECTOR(channels, 0, BODY)
    })
#undef BODY
}

DT_DISPATCH
void dt_max_pool_forward(dt_elements x, size_t channels, dt_window w, size_t first_line, size_t lines, int relu, dt_elements y,
                         size_t y_stride, uint8_t *winner) {
    if (x.is_bf16) max_forward(1, x.start, channels, &w, first_line, lines, relu, y.start, y_stride, winner);
    else max_forward(0, x.start, channels, &w, first_line, lines, relu, y.start, y_stride, winner);
}

/// One pixel's gradient: the sum of those of the windows that it won.
DT_INLINE void collect_won(const int is_bf16, const void *dy, size_t dy_stride, const uint8_t *restrict winner, size_t channels,
                           const dt_window *w, size_t iy, size_t ix, range rows, range columns, size_t lanes, void *pixel,
                           const int accumulate) {
    float sum[LANES];
    for (size_t l = 0; l < lanes; l++) sum[l] = accumulate ? value_at(pixel, is_bf16, l) : 0;
    for (size_t oy = rows.first; oy < rows.last; oy++)
        for (size_t ox = columns.first; ox < columns.last; ox++) {
            const size_t window = oy * w->output_width + ox;
            const size_t position = (iy + w->padding_height - oy * w->stride_height) * w->kernel_width + ix +
                                    w->padding_width - ox * w->stride_width;
            const uint8_t *winners = winner + window * channels;
            for (size_t l = 0; l < lanes; l++)
                sum[l] += winners[l] == (uint8_t)position ? value_at(dy, is_bf16, window * dy_stride + l) : 0;
        }
    for (size_t l = 0; l < lanes; l++) set_value(pixel, is_bf16, l, sum[l]);
}

/// Gives each pixel of an exact tile its gradient: dy for the winner, zero for the others.
DT_INLINE void spread_to_winner(const int is_bf16, const void *dy, const uint8_t *restrict winner, size_t channels,
                                const dt_window *w, size_t lanes, void *window, const int accumulate) {
    float gradient[LANES];
    int32_t where[LANES];
    for (size_t l = 0; l < lanes; l++) {
        gradient[l] = value_at(dy, is_bf16, l);
        where[l] = winner[l];
    }
    for (size_t ky = 0; ky < w->kernel_height; ky++)
        for (size_t kx = 0; kx < w->kernel_width; kx++) {
            const size_t pixel = (ky * w->width + kx) * channels;
            const int32_t position = (int32_t)(ky * w->kernel_width + kx);
            for (size_t l = 0; l < lanes; l++) {
                const float share = where[l] == position ? gradient[l] : 0;
                set_value(window, is_bf16, pixel + l, accumulate ? value_at(window, is_bf16, pixel + l) + share : share);
            }
        }
}

/// Calls BODY for each tile of some input lines, with its number `output` and the first element of its window in `dx`. Tiles of
/// all images follow one another like those of one.
#define FOR_EACH_TILE(w, is_bf16, dx, channels, first_line, lines, BODY)                                                      \
    for (size_t line = (first_line); line < (first_line) + (lines); line += (w)->kernel_height)                               \
        for (size_t ox = 0; ox < (w)->output_width; ox++) {                                                                   \
            const size_t output = line / (w)->kernel_height * (w)->output_width + ox;                                         \
            const size_t pixel = line * (w)->width + ox * (w)->kernel_width;                                                  \
            void *window = from_element(dx, is_bf16, (ptrdiff_t)(pixel * (channels)));                                        \
            BODY                                                                                                              \
        }

DT_INLINE void max_backward_of_tiles(const int is_bf16, const void *dy, size_t dy_stride, const uint8_t *winner,
                                     size_t channels, const dt_window *w, size_t first_line, size_t lines, void *dx,
                                     const int accumulate) {
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        spread_to_winner(is_bf16, from_element(dy, is_bf16, (ptrdiff_t)(output * dy_stride + (c))),                           \
                         winner + output * channels + (c), channels, w, lanes,                                                \
                         from_element(window, is_bf16, (ptrdiff_t)(c)), accumulate);                                          \
    }
    FOR_EACH_TILE(w, is_bf16, dx, channels, first_line, lines, FOR_EACH_VECTOR(channels, accumulate, BODY))
#undef BODY
}

/// Calls BODY for each pixel of some input lines, with its element in `dx`, the number of its image, and the windows that have it.
#define FOR_EACH_PIXEL(w, is_bf16, dx, channels, first_line, lines, BODY)                                                     \
    for (size_t line = (first_line); line < (first_line) + (lines); line++) {                                                 \
        const size_t image = line / (w)->height, iy = line % (w)->height;                                                     \
        const range rows = windows_of(iy, (w)->stride_height, (w)->padding_height, (w)->kernel_height, (w)->output_height);   \
        for (size_t ix = 0; ix < (w)->width; ix++) {                                                                          \
            const range columns =                                                                                             \
                windows_of(ix, (w)->stride_width, (w)->padding_width, (w)->kernel_width, (w)->output_width);                  \
            void *pixel = from_element(dx, is_bf16, (ptrdiff_t)((line * (w)->width + ix) * (channels)));                      \
            BODY                                                                                                              \
        }                                                                                                                     \
    }

DT_INLINE void max_backward(const int is_bf16, const void *dy, size_t dy_stride, const uint8_t *winner, size_t channels,
                            const dt_window *w, size_t first_line, size_t lines, void *dx, const int accumulate) {
    if (tiles_exactly(w)) {
        max_backward_of_tiles(is_bf16, dy, dy_stride, winner, channels, w, first_line, lines, dx, accumulate);
        return;
    }
    const size_t outputs = w->output_height * w->output_width;
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        collect_won(is_bf16, from_element(dy, is_bf16, (ptrdiff_t)(image * outputs * dy_stride + (c))), dy_stride,            \
                    winner + image * outputs * channels + (c), channels, w, iy, ix, rows, columns, lanes,                     \
                    from_element(pixel, is_bf16, (ptrdiff_t)(c)), accumulate);                                                \
    }
    FOR_EACH_PIXEL(w, is_bf16, dx, channels, first_line, lines, FOR_EACH_VECTOR(channels, accumulate, BODY))
#undef BODY
}

DT_DISPATCH
void dt_max_pool_backward(dt_elements dy, size_t dy_stride, const uint8_t *winner, size_t channels, dt_window w,
                          size_t first_line, size_t lines, dt_elements dx, int accumulate) {
    WITH_KIND(max_backward, dx, accumulate, dy.start, dy_stride, winner, channels, &w, first_line, lines, dx.start)
}

// MARK: Mean

/// One over the positions that a mean counts in one direction. Where padding counts, what a window of PyTorch's ceil mode has
/// beyond it does not.
DT_INLINE float share_of(span s, size_t kernel, size_t extent, size_t padding, int counts_padding) {
    if (!counts_padding) return 1.0f / (float)(s.last - s.first);
    const ptrdiff_t room = (ptrdiff_t)(extent + padding) - s.origin;
    return 1.0f / (float)(room < (ptrdiff_t)kernel ? room : (ptrdiff_t)kernel);
}

/// The share that each position of a window has in its mean.
DT_INLINE float share_of_window(const dt_window *w, size_t oy, size_t ox, int counts_padding) {
    const span rows = inside(oy, w->stride_height, w->padding_height, w->kernel_height, w->height);
    const span columns = inside(ox, w->stride_width, w->padding_width, w->kernel_width, w->width);
    return share_of(rows, w->kernel_height, w->height, w->padding_height, counts_padding) *
           share_of(columns, w->kernel_width, w->width, w->padding_width, counts_padding);
}

DT_INLINE void average_forward(const int is_bf16, const void *x, size_t channels, const dt_window *w, size_t first_line,
                               size_t lines, int counts_padding, void *y, size_t y_stride) {
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        float mean[LANES];                                                                                                    \
        mean_of_window(from_element(window, is_bf16, (ptrdiff_t)(c)), is_bf16, channels, w->width, rows, columns, lanes,      \
                       share, mean);                                                                                          \
        for (size_t l = 0; l < (lanes); l++) set_value(y, is_bf16, output * y_stride + (c) + l, mean[l]);                     \
    }
    FOR_EACH_WINDOW(w, is_bf16, x, channels, first_line, lines, {
        const float share = share_of_window(w, oy, ox, counts_padding);
        FOR_EACH_VECTOR(channels, 0, BODY)
    })
#undef BODY
}

DT_DISPATCH
void dt_average_pool_forward(dt_elements x, size_t channels, dt_window w, size_t first_line, size_t lines, int counts_padding,
                             dt_elements y, size_t y_stride) {
    if (x.is_bf16) average_forward(1, x.start, channels, &w, first_line, lines, counts_padding, y.start, y_stride);
    else average_forward(0, x.start, channels, &w, first_line, lines, counts_padding, y.start, y_stride);
}

/// One pixel's gradient: the sum of its shares of those of its windows.
DT_INLINE void collect_shares(const int is_bf16, const void *dy, size_t dy_stride, const dt_window *w, int counts_padding,
                              range rows, range columns, size_t lanes, void *pixel, const int accumulate) {
    float sum[LANES];
    for (size_t l = 0; l < lanes; l++) sum[l] = accumulate ? value_at(pixel, is_bf16, l) : 0;
    for (size_t oy = rows.first; oy < rows.last; oy++)
        for (size_t ox = columns.first; ox < columns.last; ox++) {
            const float share = share_of_window(w, oy, ox, counts_padding);
            const size_t window = (oy * w->output_width + ox) * dy_stride;
            for (size_t l = 0; l < lanes; l++) sum[l] += value_at(dy, is_bf16, window + l) * share;
        }
    for (size_t l = 0; l < lanes; l++) set_value(pixel, is_bf16, l, sum[l]);
}

/// Gives each pixel of an exact tile its share.
DT_INLINE void spread_evenly(const int is_bf16, const void *dy, size_t channels, const dt_window *w, float share,
                             size_t lanes, void *window, const int accumulate) {
    float gradient[LANES];
    for (size_t l = 0; l < lanes; l++) gradient[l] = value_at(dy, is_bf16, l) * share;
    for (size_t ky = 0; ky < w->kernel_height; ky++)
        for (size_t kx = 0; kx < w->kernel_width; kx++) {
            const size_t pixel = (ky * w->width + kx) * channels;
            for (size_t l = 0; l < lanes; l++)
                set_value(window, is_bf16, pixel + l,
                          accumulate ? value_at(window, is_bf16, pixel + l) + gradient[l] : gradient[l]);
        }
}

DT_INLINE void average_backward_of_tiles(const int is_bf16, const void *dy, size_t dy_stride, size_t channels,
                                         const dt_window *w, size_t first_line, size_t lines, void *dx, const int accumulate) {
    const float share = share_of_window(w, 0, 0, 1);
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        spread_evenly(is_bf16, from_element(dy, is_bf16, (ptrdiff_t)(output * dy_stride + (c))), channels, w, share, lanes,   \
                      from_element(window, is_bf16, (ptrdiff_t)(c)), accumulate);                                             \
    }
    FOR_EACH_TILE(w, is_bf16, dx, channels, first_line, lines, FOR_EACH_VECTOR(channels, accumulate, BODY))
#undef BODY
}

DT_INLINE void average_backward(const int is_bf16, const void *dy, size_t dy_stride, size_t channels, const dt_window *w,
                                size_t first_line, size_t lines, int counts_padding, void *dx, const int accumulate) {
    if (tiles_exactly(w)) {
        average_backward_of_tiles(is_bf16, dy, dy_stride, channels, w, first_line, lines, dx, accumulate);
        return;
    }
    const size_t sample = w->output_height * w->output_width * dy_stride;
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        collect_shares(is_bf16, from_element(dy, is_bf16, (ptrdiff_t)(image * sample + (c))), dy_stride, w, counts_padding,   \
                       rows, columns, lanes, from_element(pixel, is_bf16, (ptrdiff_t)(c)), accumulate);                       \
    }
    FOR_EACH_PIXEL(w, is_bf16, dx, channels, first_line, lines, FOR_EACH_VECTOR(channels, accumulate, BODY))
#undef BODY
}

DT_DISPATCH
void dt_average_pool_backward(dt_elements dy, size_t dy_stride, size_t channels, dt_window w, size_t first_line, size_t lines,
                              int counts_padding, dt_elements dx, int accumulate) {
    WITH_KIND(average_backward, dx, accumulate, dy.start, dy_stride, channels, &w, first_line, lines, counts_padding, dx.start)
}
