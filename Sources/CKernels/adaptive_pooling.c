#include "adaptive_pooling.h"
#include "pooling_window.h"

/// The input rows (or columns) that output `o` sees, counted from `origin`.
DT_INLINE span share_of_input(size_t o, size_t outputs, size_t extent) {
    const size_t first = o * extent / outputs;
    return (span){(ptrdiff_t)first, 0, ((o + 1) * extent + outputs - 1) / outputs - first};
}

/// The outputs that see an input row (or column).
DT_INLINE range outputs_of(size_t input, size_t outputs, size_t extent) {
    return (range){input * outputs / extent, ((input + 1) * outputs + extent - 1) / extent};
}

DT_INLINE float share_of_window(const dt_adaptive_window *w, size_t oy, size_t ox) {
    return 1.0f / (float)(share_of_input(oy, w->output_height, w->height).last *
                          share_of_input(ox, w->output_width, w->width).last);
}

/// Calls BODY for each output pixel of an image, with the rows and columns that it sees and the first element of them.
#define FOR_EACH_WINDOW(w, is_bf16, x, BODY)                                                                                  \
    for (size_t oy = 0; oy < (w)->output_height; oy++) {                                                                      \
        const span rows = share_of_input(oy, (w)->output_height, (w)->height);                                                \
        for (size_t ox = 0; ox < (w)->output_width; ox++) {                                                                   \
            const span columns = share_of_input(ox, (w)->output_width, (w)->width);                                           \
            const void *window =                                                                                              \
                from_element(x, is_bf16, (rows.origin * (ptrdiff_t)(w)->width + columns.origin) * (ptrdiff_t)(w)->channels);  \
            BODY                                                                                                              \
        }                                                                                                                     \
    }

/// Calls BODY for each input pixel of an image, with the windows that see it.
#define FOR_EACH_PIXEL(w, BODY)                                                                                               \
    for (size_t iy = 0; iy < (w)->height; iy++) {                                                                             \
        const range rows = outputs_of(iy, (w)->output_height, (w)->height);                                                   \
        for (size_t ix = 0; ix < (w)->width; ix++) {                                                                          \
            const range columns = outputs_of(ix, (w)->output_width, (w)->width);                                              \
            BODY                                                                                                              \
        }                                                                                                                     \
    }

/// Calls a function with the kinds of the elements of the image and of the pooled one as constants.
#define WITH_KINDS(function, image, pooled, ...)                                       \
    {                                                                                  \
        if ((image).is_bf16 && (pooled).is_bf16) function(1, 1, __VA_ARGS__);          \
        else if ((image).is_bf16) function(1, 0, __VA_ARGS__);                         \
        else if ((pooled).is_bf16) function(0, 1, __VA_ARGS__);                        \
        else function(0, 0, __VA_ARGS__);                                              \
    }

// MARK: Mean

DT_INLINE void average_forward(const int x_is_bf16, const int y_is_bf16, const void *x, size_t images,
                               const dt_adaptive_window *w, void *y, size_t y_stride) {
    for (size_t image = 0; image < images; image++) {
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        float mean[LANES];                                                                                                    \
        mean_of_window(from_element(window, x_is_bf16, (ptrdiff_t)(c)), x_is_bf16, w->channels, w->width, rows, columns,      \
                       lanes, share, mean);                                                                                   \
        for (size_t l = 0; l < (lanes); l++) set_value(y, y_is_bf16, (c) + l, mean[l]);                                       \
    }
        FOR_EACH_WINDOW(w, x_is_bf16, x, {
            const float share = share_of_window(w, oy, ox);
            FOR_EACH_VECTOR(w->channels, 0, BODY)
            y = from_element(y, y_is_bf16, (ptrdiff_t)y_stride);
        })
#undef BODY
        x = from_element(x, x_is_bf16, (ptrdiff_t)(w->height * w->width * w->channels));
    }
}

DT_DISPATCH
void dt_adaptive_average_pool_forward(dt_elements x, size_t images, dt_adaptive_window w, dt_elements y, size_t y_stride) {
    WITH_KINDS(average_forward, x, y, x.start, images, &w, y.start, y_stride)
}

/// One pixel's gradient: the sum of its shares of those of its windows.
DT_INLINE void collect_shares(const int x_is_bf16, const int y_is_bf16, const void *dy, size_t dy_stride,
                              const dt_adaptive_window *w, range rows, range columns, size_t lanes, void *pixel,
                              const int accumulate) {
    float sum[LANES];
    for (size_t l = 0; l < lanes; l++) sum[l] = accumulate ? value_at(pixel, x_is_bf16, l) : 0;
    for (size_t oy = rows.first; oy < rows.last; oy++)
        for (size_t ox = columns.first; ox < columns.last; ox++) {
            const float share = share_of_window(w, oy, ox);
            const size_t window = (oy * w->output_width + ox) * dy_stride;
            for (size_t l = 0; l < lanes; l++) sum[l] += value_at(dy, y_is_bf16, window + l) * share;
        }
    for (size_t l = 0; l < lanes; l++) set_value(pixel, x_is_bf16, l, sum[l]);
}

DT_INLINE void average_backward(const int x_is_bf16, const int y_is_bf16, const void *dy, size_t dy_stride, size_t images,
                                const dt_adaptive_window *w, void *dx, const int accumulate) {
    for (size_t image = 0; image < images; image++) {
#define BODY(c, lanes)                                                                                                        \
    {                                                                                                                         \
        collect_shares(x_is_bf16, y_is_bf16, from_element(dy, y_is_bf16, (ptrdiff_t)(c)), dy_stride, w, rows, columns,        \
                       lanes, from_element(dx, x_is_bf16, (ptrdiff_t)(c)), accumulate);                                       \
    }
        FOR_EACH_PIXEL(w, {
            FOR_EACH_VECTOR(w->channels, accumulate, BODY)
            dx = from_element(dx, x_is_bf16, (ptrdiff_t)w->channels);
        })
#undef BODY
        dy = from_element(dy, y_is_bf16, (ptrdiff_t)(w->output_height * w->output_width * dy_stride));
    }
}

DT_DISPATCH
void dt_adaptive_average_pool_backward(dt_elements dy, size_t dy_stride, size_t images, dt_adaptive_window w,
                                       dt_elements dx, int accumulate) {
    if (accumulate) WITH_KINDS(average_backward, dx, dy, dy.start, dy_stride, images, &w, dx.start, 1)
    else WITH_KINDS(average_backward, dx, dy, dy.start, dy_stride, images, &w, dx.start, 0)
}

// MARK: Maximum

DT_INLINE void take_maximum(const void *window, const int x_is_bf16, const int y_is_bf16, const dt_adaptive_window *w,
                            span rows, span columns, size_t lanes, void *y, int32_t *restrict winner) {
    float best[LANES];
    int32_t where[LANES];
    max_of_window(window, x_is_bf16, w->channels, w->width, rows, columns, w->width, lanes, best, where);
    const int32_t origin = (int32_t)((size_t)rows.origin * w->width + (size_t)columns.origin);
    for (size_t l = 0; l < lanes; l++) {
        set_value(y, y_is_bf16, l, best[l]);
        winner[l] = origin + where[l];
    }
}

DT_INLINE void max_forward(const int x_is_bf16, const int y_is_bf16, const void *x, size_t images,
                           const dt_adaptive_window *w, void *y, size_t y_stride, int32_t *winner) {
    for (size_t image = 0; image < images; image++) {
#define BODY(c, lanes)                                                                                                   \
    {                                                                                                                    \
        take_maximum(from_element(window, x_is_bf16, (ptrdiff_t)(c)), x_is_bf16, y_is_bf16, w, rows, columns, lanes,     \
                     from_element(y, y_is_bf16, (ptrdiff_t)(c)), winner + (c));                                          \
    }
        FOR_EACH_WINDOW(w, x_is_bf16, x, {
            FOR_EACH_VECTOR(w->channels, 0, BODY)
            y = from_element(y, y_is_bf16, (ptrdiff_t)y_stride);
            winner += w->channels;
        })
#undef BODY
        x = from_element(x, x_is_bf16, (ptrdiff_t)(w->height * w->width * w->channels));
    }
}

DT_DISPATCH
void dt_adaptive_max_pool_forward(dt_elements x, size_t images, dt_adaptive_window w, dt_elements y, size_t y_stride,
                                  int32_t *winner) {
    WITH_KINDS(max_forward, x, y, x.start, images, &w, y.start, y_stride, winner)
}

/// One pixel's gradient: the sum of those of the windows that it won.
DT_INLINE void collect_won(const int x_is_bf16, const int y_is_bf16, const void *dy, size_t dy_stride,
                           const int32_t *restrict winner, const dt_adaptive_window *w, int32_t pixel_number, range rows,
                           range columns, size_t lanes, void *pixel, const int accumulate) {
    float sum[LANES];
    for (size_t l = 0; l < lanes; l++) sum[l] = accumulate ? value_at(pixel, x_is_bf16, l) : 0;
    for (size_t oy = rows.first; oy < rows.last; oy++)
        for (size_t ox = columns.first; ox < columns.last; ox++) {
            const size_t window = oy * w->output_width + ox;
            const int32_t *winners = winner + window * w->channels;
            for (size_t l = 0; l < lanes; l++)
                sum[l] += winners[l] == pixel_number ? value_at(dy, y_is_bf16, window * dy_stride + l) : 0;
        }
    for (size_t l = 0; l < lanes; l++) set_value(pixel, x_is_bf16, l, sum[l]);
}

DT_INLINE void max_backward(const int x_is_bf16, const int y_is_bf16, const void *dy, size_t dy_stride,
                            const int32_t *winner, size_t images, const dt_adaptive_window *w, void *dx, const int accumulate) {
    const size_t outputs = w->output_height * w->output_width;
    for (size_t image = 0; image < images; image++, winner += outputs * w->channels) {
#define BODY(c, lanes)                                                                                                     \
    {                                                                                                                      \
        collect_won(x_is_bf16, y_is_bf16, from_element(dy, y_is_bf16, (ptrdiff_t)(c)), dy_stride, winner + (c), w, number, \
                    rows, columns, lanes, from_element(dx, x_is_bf16, (ptrdiff_t)(c)), accumulate);                        \
    }
        FOR_EACH_PIXEL(w, {
            const int32_t number = (int32_t)(iy * w->width + ix);
            FOR_EACH_VECTOR(w->channels, accumulate, BODY)
            dx = from_element(dx, x_is_bf16, (ptrdiff_t)w->channels);
        })
#undef BODY
        dy = from_element(dy, y_is_bf16, (ptrdiff_t)(outputs * dy_stride));
    }
}

DT_DISPATCH
void dt_adaptive_max_pool_backward(dt_elements dy, size_t dy_stride, const int32_t *winner, size_t images,
                                   dt_adaptive_window w, dt_elements dx, int accumulate) {
    if (accumulate) WITH_KINDS(max_backward, dx, dy, dy.start, dy_stride, winner, images, &w, dx.start, 1)
    else WITH_KINDS(max_backward, dx, dy, dy.start, dy_stride, winner, images, &w, dx.start, 0)
}
