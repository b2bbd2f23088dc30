#include "window.h"
#include "dispatch.h"

/// The part of a window that lies inside the image, in kernel rows or columns: [first, last).
typedef struct { ptrdiff_t origin; size_t first, last; } span;

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

// Channels are worked on in vectors of 8 (or 4) whose values stay in registers while the window is walked.
enum { LANES = 8 };

/// Calls BODY(c, lanes) for each vector of channels. What is left over is covered by a last vector that overlaps the one
/// before it, which only a body that sets its results may see twice; one that adds to them (`adds`) gets fewer lanes.
#define FOR_EACH_VECTOR(channels, adds, BODY)                                                  \
    {                                                                                          \
        size_t c_ = 0;                                                                         \
        for (; c_ + LANES <= (channels); c_ += LANES) BODY(c_, LANES)                          \
        if (c_ < (channels) && !(adds) && (channels) >= LANES) BODY((channels)-LANES, LANES)   \
        else if (c_ < (channels) && !(adds) && (channels) >= 4) {                              \
            BODY(0, 4)                                                                         \
            BODY((channels)-4, 4)                                                              \
        } else if (c_ < (channels)) BODY(c_, (channels)-c_)                                    \
    }

DT_INLINE void max_of_window(const float *restrict window, size_t channels, size_t width, span rows, span columns,
                             size_t kernel_width, size_t lanes, int relu, float *restrict y, uint8_t *restrict winner) {
    float best[LANES];
    int32_t where[LANES];
    const float *first = window + ((ptrdiff_t)(rows.first * width) + (ptrdiff_t)columns.first) * (ptrdiff_t)channels;
    for (size_t l = 0; l < lanes; l++) {
        best[l] = first[l];
        where[l] = (int32_t)(rows.first * kernel_width + columns.first);
    }
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            const float *pixel = window + ((ptrdiff_t)(ky * width) + (ptrdiff_t)kx) * (ptrdiff_t)channels;
            const int32_t position = (int32_t)(ky * kernel_width + kx);
            for (size_t l = 0; l < lanes; l++) {
                const int wins = pixel[l] > best[l] || pixel[l] != pixel[l];       // a NaN wins and stays
                best[l] = wins ? pixel[l] : best[l];
                where[l] = wins ? position : where[l];
            }
        }
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
    { max_of_window(window + c, channels, w.width, rows, columns, w.kernel_width, lanes, relu, y + c, winner + c); }
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

DT_INLINE void mean_of_window(const float *restrict window, size_t channels, size_t width, span rows, span columns,
                              size_t lanes, float share, float *restrict y) {
    float sum[LANES];
    for (size_t l = 0; l < lanes; l++) sum[l] = 0;
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            const float *pixel = window + ((ptrdiff_t)(ky * width) + (ptrdiff_t)kx) * (ptrdiff_t)channels;
            for (size_t l = 0; l < lanes; l++) sum[l] += pixel[l];
        }
    for (size_t l = 0; l < lanes; l++) y[l] = sum[l] * share;
}

DT_DISPATCH
void dt_average_pool_forward(const float *x, size_t images, size_t channels, dt_window w, float *y, size_t y_stride) {
    const float share = 1.0f / (float)(w.kernel_height * w.kernel_width);
    for (size_t image = 0; image < images; image++, x += w.height * w.width * channels)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            for (size_t ox = 0; ox < w.output_width; ox++, y += y_stride) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                const float *window =
                    x + (rows.origin * (ptrdiff_t)w.width + columns.origin) * (ptrdiff_t)channels;
#define BODY(c, lanes) { mean_of_window(window + c, channels, w.width, rows, columns, lanes, share, y + c); }
                FOR_EACH_VECTOR(channels, 0, BODY)
#undef BODY
            }
        }
}

DT_INLINE void spread_evenly(const float *restrict dy, size_t channels, size_t width, span rows, span columns,
                             size_t lanes, float share, float *restrict window, int accumulate) {
    float gradient[LANES];
    for (size_t l = 0; l < lanes; l++) gradient[l] = dy[l] * share;
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            float *pixel = window + ((ptrdiff_t)(ky * width) + (ptrdiff_t)kx) * (ptrdiff_t)channels;
            for (size_t l = 0; l < lanes; l++) pixel[l] = accumulate ? pixel[l] + gradient[l] : gradient[l];
        }
}

DT_DISPATCH
void dt_average_pool_backward(const float *dy, size_t dy_stride, size_t images, size_t channels, dt_window w,
                              float *dx, int accumulate) {
    const float share = 1.0f / (float)(w.kernel_height * w.kernel_width);
    const int adds = accumulate || !tiles_exactly(&w);
    const size_t image_count = w.height * w.width * channels;
    if (adds && !accumulate) memset(dx, 0, images * image_count * sizeof *dx);
    for (size_t image = 0; image < images; image++, dx += image_count)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            for (size_t ox = 0; ox < w.output_width; ox++, dy += dy_stride) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                float *window = dx + (rows.origin * (ptrdiff_t)w.width + columns.origin) * (ptrdiff_t)channels;
#define BODY(c, lanes) { spread_evenly(dy + c, channels, w.width, rows, columns, lanes, share, window + c, adds); }
                FOR_EACH_VECTOR(channels, adds, BODY)
#undef BODY
            }
        }
}
