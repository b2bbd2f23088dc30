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

DT_DISPATCH
void dt_max_pool_forward(const float *x, size_t images, size_t channels, dt_window w, int relu, float *y,
                         size_t y_stride, uint8_t *winner) {
    for (size_t image = 0; image < images; image++, x += w.height * w.width * channels)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            for (size_t ox = 0; ox < w.output_width; ox++, y += y_stride, winner += channels) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                float *restrict best = y;
                uint8_t *restrict where = winner;
                for (size_t c = 0; c < channels; c++) best[c] = -INFINITY, where[c] = 255;
                for (size_t ky = rows.first; ky < rows.last; ky++)
                    for (size_t kx = columns.first; kx < columns.last; kx++) {
                        const float *restrict pixel =
                            x + ((rows.origin + (ptrdiff_t)ky) * (ptrdiff_t)w.width + columns.origin + (ptrdiff_t)kx) *
                                    (ptrdiff_t)channels;
                        const uint8_t position = (uint8_t)(ky * w.kernel_width + kx);
                        for (size_t c = 0; c < channels; c++) {
                            // The first one is taken even if it is -inf; NaN wins and stays.
                            const int wins = pixel[c] > best[c] || pixel[c] != pixel[c] || where[c] == 255;
                            best[c] = wins ? pixel[c] : best[c];
                            where[c] = wins ? position : where[c];
                        }
                    }
                if (relu)
                    for (size_t c = 0; c < channels; c++) best[c] = best[c] < 0 ? 0 : best[c];
            }
        }
}

DT_DISPATCH
void dt_max_pool_backward(const float *dy, size_t dy_stride, const float *y, size_t y_stride, const uint8_t *winner,
                          size_t images, size_t channels, dt_window w, int relu, float *dx) {
    for (size_t image = 0; image < images; image++, dx += w.height * w.width * channels)
        for (size_t oy = 0; oy < w.output_height; oy++)
            for (size_t ox = 0; ox < w.output_width; ox++, dy += dy_stride, y += y_stride, winner += channels) {
                const ptrdiff_t top = (ptrdiff_t)(oy * w.stride_height) - (ptrdiff_t)w.padding_height;
                const ptrdiff_t left = (ptrdiff_t)(ox * w.stride_width) - (ptrdiff_t)w.padding_width;
                for (size_t c = 0; c < channels; c++) {
                    if (relu && !(y[c] > 0)) continue;
                    const ptrdiff_t iy = top + (ptrdiff_t)(winner[c] / w.kernel_width);
                    const ptrdiff_t ix = left + (ptrdiff_t)(winner[c] % w.kernel_width);
                    dx[(iy * (ptrdiff_t)w.width + ix) * (ptrdiff_t)channels + (ptrdiff_t)c] += dy[c];
                }
            }
}

DT_DISPATCH
void dt_average_pool_forward(const float *x, size_t images, size_t channels, dt_window w, float *y, size_t y_stride) {
    const float share = 1.0f / (float)(w.kernel_height * w.kernel_width);
    for (size_t image = 0; image < images; image++, x += w.height * w.width * channels)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            for (size_t ox = 0; ox < w.output_width; ox++, y += y_stride) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                float *restrict sum = y;
                for (size_t c = 0; c < channels; c++) sum[c] = 0;
                for (size_t ky = rows.first; ky < rows.last; ky++)
                    for (size_t kx = columns.first; kx < columns.last; kx++) {
                        const float *restrict pixel =
                            x + ((rows.origin + (ptrdiff_t)ky) * (ptrdiff_t)w.width + columns.origin + (ptrdiff_t)kx) *
                                    (ptrdiff_t)channels;
                        for (size_t c = 0; c < channels; c++) sum[c] += pixel[c];
                    }
                for (size_t c = 0; c < channels; c++) sum[c] *= share;
            }
        }
}

DT_DISPATCH
void dt_average_pool_backward(const float *dy, size_t dy_stride, size_t images, size_t channels, dt_window w,
                              float *dx) {
    const float share = 1.0f / (float)(w.kernel_height * w.kernel_width);
    for (size_t image = 0; image < images; image++, dx += w.height * w.width * channels)
        for (size_t oy = 0; oy < w.output_height; oy++) {
            const span rows = inside(oy, w.stride_height, w.padding_height, w.kernel_height, w.height);
            for (size_t ox = 0; ox < w.output_width; ox++, dy += dy_stride) {
                const span columns = inside(ox, w.stride_width, w.padding_width, w.kernel_width, w.width);
                for (size_t ky = rows.first; ky < rows.last; ky++)
                    for (size_t kx = columns.first; kx < columns.last; kx++) {
                        float *restrict pixel =
                            dx + ((rows.origin + (ptrdiff_t)ky) * (ptrdiff_t)w.width + columns.origin + (ptrdiff_t)kx) *
                                     (ptrdiff_t)channels;
                        for (size_t c = 0; c < channels; c++) pixel[c] += dy[c] * share;
                    }
            }
        }
}
