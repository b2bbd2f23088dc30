#include "subsample.h"
#include "dispatch.h"

DT_DISPATCH
void dt_subsample_forward(const float *x, size_t images, dt_subsampling s, float *y, size_t y_stride) {
    for (size_t image = 0; image < images; image++, x += s.height * s.width * s.channels)
        for (size_t row = 0; row < s.height; row += s.stride_height)
            for (size_t column = 0; column < s.width; column += s.stride_width, y += y_stride) {
                const float *restrict from = x + (row * s.width + column) * s.channels;
                float *restrict to = y;
                for (size_t c = 0; c < s.channels; c++) to[c] = from[c];
                for (size_t c = s.channels; c < s.output_channels; c++) to[c] = 0;
            }
}

DT_DISPATCH
void dt_subsample_backward(const float *dy, size_t dy_stride, size_t images, dt_subsampling s, float *dx,
                           int accumulate) {
    const size_t image_count = s.height * s.width * s.channels;
    if (!accumulate) memset(dx, 0, images * image_count * sizeof *dx);
    for (size_t image = 0; image < images; image++, dx += image_count)
        for (size_t row = 0; row < s.height; row += s.stride_height)
            for (size_t column = 0; column < s.width; column += s.stride_width, dy += dy_stride) {
                const float *restrict from = dy;
                float *restrict to = dx + (row * s.width + column) * s.channels;
                for (size_t c = 0; c < s.channels; c++) to[c] += from[c];
            }
}
