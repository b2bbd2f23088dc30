#include "window.h"
#include "pooling_window.h"

DT_INLINE span inside(size_t output, size_t stride, size_t padding, size_t kernel, size_t extent) {
    span s = {(ptrdiff_t)(output * stride) - (ptrdiff_t)padding, 0, kernel};
    if (s.origin < 0) s.first = (size_t)-s.origin;
    if (s.origin + (ptrdiff_t)kernel > (ptrdiff_t)extent) s.last = (size_t)((ptrdiff_t)extent - s.origin);
    return s;
}

/// Windows that neither overlap nor leave a pixel out: each input pixel belongs to exactly one output.
DT_INLINE int tiles_exactly(const dt_window *w) {
    return w->padding_height == 0 && w->padding_width == 0 && w->stride_height == w->kernel_height &&
           w->stride_width == w->kernel_width && w->output_height * w->stride_height == w->height &&
           w->output_width * w->stride_width == w->width;
}

DT_INLINE void take_maximum(const float *window, size_t channels, size_t width, span rows, span columns,
                            size_t kernel_width, size_t lanes, int relu, float *restrict y, uint8_t *restrict winner) {
    float best[LANES];
    int32_t where[LANES];
    max_of_window(window, channels, width, rows, columns, kernel_width, lanes, best, where);
    for (size_t l = 0; l < lanes; l++) {
        y[l] = relu && best[l] < 0 ? 0 : best[l];
        winner[l] = (uint8_t)where[l];
    }
}

DT_DISPATCH
void dt_max_pool_forward(const float *x, size_t images, size_t channels, dt_window w, int relu, float *y,
                         size_t y_stride, uint8_t *winner) {
    for (size_t image = 0; image < images; image++, x += w.height * w.width * channels)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            for (size_t ox = 0; ox < w.output_width; ox++, y += y_stride, winner += channels) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                const float *window =
                    x + (rows.origin * (ptrdiff_t)w.width + columns.origin) * (ptrdiff_t)channels;
#define BODY(c, lanes) \
    { take_maximum(window + c, channels, w.width, rows, columns, w.kernel_width, lanes, relu, y + c, winner + c); }
                FOR_EACH_VECTOR(channels, 0, BODY)
#undef BODY
            }
        }
}

/// Gives each pixel of an exact tile its gradient: dy for the winner, zero for the others.
DT_INLINE void spread_to_winner(const float *restrict dy, const float *restrict y, const uint8_t *restrict winner,
                                size_t channels, const dt_window *w, size_t lanes, int relu, float *restrict window,
                                int accumulate) {
    float gradient[LANES];
    int32_t where[LANES];
    for (size_t l = 0; l < lanes; l++) {
        gradient[l] = relu && !(y[l] > 0) ? 0 : dy[l];
        where[l] = winner[l];
    }
    for (size_t ky = 0; ky < w->kernel_height; ky++)
        for (size_t kx = 0; kx < w->kernel_width; kx++) {
            float *restrict pixel = window + (ky * w->width + kx) * channels;
            const int32_t position = (int32_t)(ky * w->kernel_width + kx);
            for (size_t l = 0; l < lanes; l++) {
                const float share = where[l] == position ? gradient[l] : 0;
                pixel[l] = accumulate ? pixel[l] + share : share;
            }
        }
}

DT_DISPATCH
void dt_max_pool_backward(const float *dy, size_t dy_stride, const float *y, size_t y_stride, const uint8_t *winner,
                          size_t images, size_t channels, dt_window w, int relu, float *dx, int accumulate) {
    const int exact = tiles_exactly(&w);
    const size_t image_count = w.height * w.width * channels;
    if (!exact && !accumulate) memset(dx, 0, images * image_count * sizeof *dx);
    for (size_t image = 0; image < images; image++, dx += image_count)
        for (size_t oy = 0; oy < w.output_height; oy++)
            for (size_t ox = 0; ox < w.output_width; ox++, dy += dy_stride, y += y_stride, winner += channels) {
                const ptrdiff_t top = (ptrdiff_t)(oy * w.stride_height) - (ptrdiff_t)w.padding_height;
                const ptrdiff_t left = (ptrdiff_t)(ox * w.stride_width) - (ptrdiff_t)w.padding_width;
                if (exact) {
                    float *window = dx + (top * (ptrdiff_t)w.width + left) * (ptrdiff_t)channels;
#define BODY(c, lanes) { spread_to_winner(dy + c, y + c, winner + c, channels, &w, lanes, relu, window + c, accumulate); }
                    FOR_EACH_VECTOR(channels, accumulate, BODY)
#undef BODY
                    continue;
                }
                for (size_t c = 0; c < channels; c++) {
                    if (relu && !(y[c] > 0)) continue;
                    const ptrdiff_t iy = top + (ptrdiff_t)(winner[c] / w.kernel_width);
                    const ptrdiff_t ix = left + (ptrdiff_t)(winner[c] % w.kernel_width);
                    dx[(iy * (ptrdiff_t)w.width + ix) * (ptrdiff_t)channels + (ptrdiff_t)c] += dy[c];
                }
            }
}

/// One over the positions that a mean counts in one direction. Where padding counts, what a window of PyTorch's ceil mode has
/// beyond it does not.
DT_INLINE float share_of(span s, size_t kernel, size_t extent, size_t padding, int counts_padding) {
    if (!counts_padding) return 1.0f / (float)(s.last - s.first);
    const ptrdiff_t room = (ptrdiff_t)(extent + padding) - s.origin;
    return 1.0f / (float)(room < (ptrdiff_t)kernel ? room : (ptrdiff_t)kernel);
}

DT_DISPATCH
void dt_average_pool_forward(const float *x, size_t images, size_t channels, dt_window w, int counts_padding, float *y,
                             size_t y_stride) {
    for (size_t image = 0; image < images; image++, x += w.height * w.width * channels)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            const float row_share = share_of(rows, w.kernel_height, w.height, w.padding_height, counts_padding);
            for (size_t ox = 0; ox < w.output_width; ox++, y += y_stride) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                const float share =
                    row_share * share_of(columns, w.kernel_width, w.width, w.padding_width, counts_padding);
                const float *window =
                    x + (rows.origin * (ptrdiff_t)w.width + columns.origin) * (ptrdiff_t)channels;
#define BODY(c, lanes) { mean_of_window(window + c, channels, w.width, rows, columns, lanes, share, y + c); }
                FOR_EACH_VECTOR(channels, 0, BODY)
#undef BODY
            }
        }
}

DT_DISPATCH
void dt_average_pool_backward(const float *dy, size_t dy_stride, size_t images, size_t channels, dt_window w,
                              int counts_padding, float *dx, int accumulate) {
    const int adds = accumulate || !tiles_exactly(&w);
    const size_t image_count = w.height * w.width * channels;
    if (adds && !accumulate) memset(dx, 0, images * image_count * sizeof *dx);
    for (size_t image = 0; image < images; image++, dx += image_count)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            const float row_share = share_of(rows, w.kernel_height, w.height, w.padding_height, counts_padding);
            for (size_t ox = 0; ox < w.output_width; ox++, dy += dy_stride) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                const float share =
                    row_share * share_of(columns, w.kernel_width, w.width, w.padding_width, counts_padding);
                float *window = dx + (rows.origin * (ptrdiff_t)w.width + columns.origin) * (ptrdiff_t)channels;
#define BODY(c, lanes) { spread_evenly(dy + c, channels, w.width, rows, columns, lanes, share, window + c, adds); }
                FOR_EACH_VECTOR(channels, adds, BODY)
#undef BODY
            }
        }
}
