#include "window.h"
#include "dispatch.h"

/// The kernel columns whose input column lies inside the image, for an output column: [first, last).
DT_INLINE void valid_columns(const dt_window *w, size_t ox, ptrdiff_t *origin, size_t *first, size_t *last) {
    *origin = (ptrdiff_t)(ox * w->stride_width) - (ptrdiff_t)w->padding_width;
    *first = 0;
    while (*first < w->kernel_width && *origin + (ptrdiff_t)(*first * w->dilation_width) < 0) ++*first;
    *last = w->kernel_width;
    while (*last > *first && *origin + (ptrdiff_t)((*last - 1) * w->dilation_width) >= (ptrdiff_t)w->width) --*last;
}

DT_INLINE void copy(float *restrict to, const float *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = from[i];
}

DT_INLINE void zero(float *restrict to, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = 0;
}

DT_DISPATCH
void dt_unfold(const float *x, size_t pixel_stride, size_t channels, dt_window w, size_t first_line, size_t lines,
               float *rows) {
    const int dense = w.dilation_width == 1 && pixel_stride == channels;
    const size_t kernel_row = w.kernel_width * channels;
    for (size_t line = first_line; line < first_line + lines; line++) {
        const float *image = x + line / w.output_height * w.height * w.width * pixel_stride;
        const ptrdiff_t top = (ptrdiff_t)(line % w.output_height * w.stride_height) - (ptrdiff_t)w.padding_height;
        for (size_t ox = 0; ox < w.output_width; ox++) {
            ptrdiff_t left;
            size_t first, last;
            valid_columns(&w, ox, &left, &first, &last);
            for (size_t ky = 0; ky < w.kernel_height; ky++, rows += kernel_row) {
                const ptrdiff_t iy = top + (ptrdiff_t)(ky * w.dilation_height);
                if (iy < 0 || iy >= (ptrdiff_t)w.height) {
                    zero(rows, kernel_row);
                    continue;
                }
                const float *source = image + (iy * (ptrdiff_t)w.width + left) * (ptrdiff_t)pixel_stride;
                zero(rows, first * channels);
                if (dense)
                    copy(rows + first * channels, source + first * channels, (last - first) * channels);
                else
                    for (size_t kx = first; kx < last; kx++)
                        copy(rows + kx * channels, source + kx * w.dilation_width * pixel_stride, channels);
                zero(rows + last * channels, (w.kernel_width - last) * channels);
            }
        }
    }
}

DT_INLINE void add(float *restrict to, const float *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

DT_DISPATCH
void dt_fold_add(const float *rows, size_t channels, dt_window w, size_t first_line, size_t lines, float *x,
                 size_t pixel_stride) {
    const int dense = w.dilation_width == 1 && pixel_stride == channels;
    const size_t kernel_row = w.kernel_width * channels;
    for (size_t line = first_line; line < first_line + lines; line++) {
        float *image = x + line / w.output_height * w.height * w.width * pixel_stride;
        const ptrdiff_t top = (ptrdiff_t)(line % w.output_height * w.stride_height) - (ptrdiff_t)w.padding_height;
        for (size_t ox = 0; ox < w.output_width; ox++) {
            ptrdiff_t left;
            size_t first, last;
            valid_columns(&w, ox, &left, &first, &last);
            for (size_t ky = 0; ky < w.kernel_height; ky++, rows += kernel_row) {
                const ptrdiff_t iy = top + (ptrdiff_t)(ky * w.dilation_height);
                if (iy < 0 || iy >= (ptrdiff_t)w.height) continue;
                float *target = image + (iy * (ptrdiff_t)w.width + left) * (ptrdiff_t)pixel_stride;
                if (dense)
                    add(target + first * channels, rows + first * channels, (last - first) * channels);
                else
                    for (size_t kx = first; kx < last; kx++)
                        add(target + kx * w.dilation_width * pixel_stride, rows + kx * channels, channels);
            }
        }
    }
}
