#include "adaptive_pooling.h"
#include "pooling_window.h"

/// The input rows (or columns) that output `o` sees, counted from `origin`.
DT_INLINE span share_of_input(size_t o, size_t outputs, size_t extent) {
    const size_t first = o * extent / outputs;
    return (span){(ptrdiff_t)first, 0, ((o + 1) * extent + outputs - 1) / outputs - first};
}

/// Calls BODY with `rows` and `columns` set for each output pixel of each image.
#define FOR_EACH_WINDOW(w, BODY)                                                            \
    for (size_t oy = 0; oy < (w).output_height; oy++) {                                     \
        const span rows = share_of_input(oy, (w).output_height, (w).height);                \
        for (size_t ox = 0; ox < (w).output_width; ox++) {                                  \
            const span columns = share_of_input(ox, (w).output_width, (w).width);           \
            const size_t window = ((size_t)rows.origin * (w).width + (size_t)columns.origin) * (w).channels; \
            BODY                                                                            \
        }                                                                                   \
    }

#define AVERAGE(c, lanes) \
    { mean_of_window(x + window + c, channels, w.width, rows, columns, lanes, share, y + c); }
DT_DISPATCH
void dt_adaptive_average_pool_forward(const float *x, size_t images, dt_adaptive_window w, float *y, size_t y_stride) {
    const size_t channels = w.channels;
    for (size_t image = 0; image < images; image++, x += w.height * w.width * channels)
        FOR_EACH_WINDOW(w, {
            const float share = 1.0f / (float)(rows.last * columns.last);
            FOR_EACH_VECTOR(channels, 0, AVERAGE)
            y += y_stride;
        })
}

#define SPREAD(c, lanes) \
    { spread_evenly(dy + c, channels, w.width, rows, columns, lanes, share, dx + window + c, adds); }
DT_DISPATCH
void dt_adaptive_average_pool_backward(const float *dy, size_t dy_stride, size_t images, dt_adaptive_window w,
                                       float *dx, int accumulate) {
    const size_t channels = w.channels, image_count = w.height * w.width * channels;
    // Windows of the same size neither overlap nor leave a pixel out.
    const int even = w.height % w.output_height == 0 && w.width % w.output_width == 0;
    const int adds = accumulate || !even;
    if (adds && !accumulate) memset(dx, 0, images * image_count * sizeof *dx);
    for (size_t image = 0; image < images; image++, dx += image_count)
        FOR_EACH_WINDOW(w, {
            const float share = 1.0f / (float)(rows.last * columns.last);
            FOR_EACH_VECTOR(channels, adds, SPREAD)
            dy += dy_stride;
        })
}

DT_INLINE void take_maximum(const float *window, size_t channels, size_t width, span rows, span columns, size_t lanes,
                            float *restrict y, int32_t *restrict winner) {
    float best[LANES];
    int32_t where[LANES];
    max_of_window(window, channels, width, rows, columns, width, lanes, best, where);
    const int32_t origin = (int32_t)((size_t)rows.origin * width + (size_t)columns.origin);
    for (size_t l = 0; l < lanes; l++) {
        y[l] = best[l];
        winner[l] = origin + where[l];
    }
}

#define MAXIMUM(c, lanes) \
    { take_maximum(x + window + c, channels, w.width, rows, columns, lanes, y + c, winner + c); }
DT_DISPATCH
void dt_adaptive_max_pool_forward(const float *x, size_t images, dt_adaptive_window w, float *y, size_t y_stride,
                                  int32_t *winner) {
    const size_t channels = w.channels;
    for (size_t image = 0; image < images; image++, x += w.height * w.width * channels)
        FOR_EACH_WINDOW(w, {
            FOR_EACH_VECTOR(channels, 0, MAXIMUM)
            y += y_stride;
            winner += channels;
        })
}

void dt_adaptive_max_pool_backward(const float *dy, size_t dy_stride, const int32_t *winner, size_t images,
                                   dt_adaptive_window w, float *dx, int accumulate) {
    const size_t channels = w.channels, image_count = w.height * w.width * channels;
    if (!accumulate) memset(dx, 0, images * image_count * sizeof *dx);
    for (size_t image = 0; image < images; image++, dx += image_count)
        for (size_t pixel = 0; pixel < w.output_height * w.output_width; pixel++, dy += dy_stride, winner += channels)
            for (size_t c = 0; c < channels; c++) dx[(size_t)winner[c] * channels + c] += dy[c];
}
