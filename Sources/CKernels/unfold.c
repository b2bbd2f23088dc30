#include "unfold.h"
#include "window_inside.h"

/// Copies in whole vectors of 8 floats: up to 7 floats more than asked are read and written. Rows are filled from left
/// to right, so what is written too much is overwritten by its owner afterwards.
DT_INLINE void copy_whole_vectors(float *restrict to, const float *restrict from, size_t count) {
    for (size_t i = 0; i < count; i += 8) memcpy(to + i, from + i, 8 * sizeof *to);
}

DT_INLINE void copy(float *restrict to, const float *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = from[i];
}

DT_INLINE void zero(float *restrict to, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = 0;
}

/// One output pixel that touches the left or right padding, or is dilated, or is a group's slice of the channels.
DT_INLINE void unfold_pixel(const float *image, size_t pixel_stride, size_t channels, const dt_window *w,
                            kernel_rows valid, size_t ox, float *rows) {
    ptrdiff_t left;
    size_t first, last;
    valid_columns(w, ox, &left, &first, &last);
    const size_t kernel_row = w->kernel_width * channels;
    zero(rows, valid.first * kernel_row);
    for (size_t ky = valid.first; ky < valid.last; ky++) {
        float *row = rows + ky * kernel_row;
        const ptrdiff_t iy = valid.top + (ptrdiff_t)(ky * w->dilation_height);
        const float *source = image + (iy * (ptrdiff_t)w->width + left) * (ptrdiff_t)pixel_stride;
        zero(row, first * channels);
        for (size_t kx = first; kx < last; kx++)
            copy(row + kx * channels, source + kx * w->dilation_width * pixel_stride, channels);
        zero(row + last * channels, (w->kernel_width - last) * channels);
    }
    zero(rows + valid.last * kernel_row, (w->kernel_height - valid.last) * kernel_row);
}

/// Output pixels whose kernel rows are runs of `kernel_row` floats in the image: `source` is the first row of the first
/// pixel, `step` the floats from one pixel to the next, `row_step` from one kernel row to the next.
DT_INLINE float *unfold_run(const float *source, size_t step, size_t row_step, size_t pixels, size_t kernel_row,
                            size_t rows_before, size_t row_count, size_t rows_after, float *rows) {
    for (size_t pixel = 0; pixel < pixels; pixel++, source += step) {
        zero(rows, rows_before * kernel_row);
        rows += rows_before * kernel_row;
        for (size_t ky = 0; ky < row_count; ky++, rows += kernel_row)
            copy_whole_vectors(rows, source + ky * row_step, kernel_row);
        zero(rows, rows_after * kernel_row);
        rows += rows_after * kernel_row;
    }
    return rows;
}

DT_DISPATCH
void dt_unfold(const float *x, size_t pixel_stride, size_t channels, dt_window w, size_t first_line, size_t lines,
               float *rows) {
    const size_t kernel_row = w.kernel_width * channels, row_length = w.kernel_height * kernel_row;
    const size_t reach = (w.kernel_width - 1) * w.dilation_width + 1, row_step = w.dilation_height * w.width * channels;
    // Output columns [inner, end) see no padding at their sides, and their kernel rows are runs of the image.
    size_t inner = w.output_width, end = w.output_width;
    if (w.dilation_width == 1 && pixel_stride == channels && w.width >= reach) {
        inner = (w.padding_width + w.stride_width - 1) / w.stride_width;
        end = (w.width + w.padding_width - reach) / w.stride_width + 1;
        inner = smaller(inner, w.output_width);
        end = end < inner ? inner : smaller(end, w.output_width);
    }
    for (size_t line = first_line; line < first_line + lines; line++, rows += w.output_width * row_length) {
        const float *image = x + line / w.output_height * w.height * w.width * pixel_stride;
        const kernel_rows valid = valid_rows(&w, line);
        for (size_t ox = 0; ox < inner; ox++)
            unfold_pixel(image, pixel_stride, channels, &w, valid, ox, rows + ox * row_length);
        size_t ox = inner;
        if (valid.first < valid.last && inner < end) {
            // Whole vectors must not be read beyond the image: the last pixels of its last line go the slow way.
            const ptrdiff_t last_row = valid.top + (ptrdiff_t)((valid.last - 1) * w.dilation_height);
            const size_t left = inner * w.stride_width - w.padding_width, step = w.stride_width * channels;
            const size_t room = (w.height * w.width - (size_t)last_row * w.width - left) * channels;
            const size_t needed = (kernel_row + 7) / 8 * 8;
            size_t pixels = room < needed ? 0 : (room - needed) / step + 1;
            pixels = smaller(pixels, end - inner);
            const ptrdiff_t first_row = valid.top + (ptrdiff_t)(valid.first * w.dilation_height);
            const float *source = image + ((size_t)first_row * w.width + left) * channels;
            const size_t before = valid.first, count = valid.last - valid.first, after = w.kernel_height - valid.last;
            float *to = rows + inner * row_length;
            if (kernel_row == 5 && count == 5 && before + after == 0)               // 5×5 over one channel: all constant, all unrolled
                unfold_run(source, step, row_step, pixels, 5, 0, 5, 0, to);
            else
                unfold_run(source, step, row_step, pixels, kernel_row, before, count, after, to);
            ox += pixels;
        }
        for (; ox < w.output_width; ox++)
            unfold_pixel(image, pixel_stride, channels, &w, valid, ox, rows + ox * row_length);
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
        const kernel_rows valid = valid_rows(&w, line);
        for (size_t ox = 0; ox < w.output_width; ox++, rows += w.kernel_height * kernel_row) {
            ptrdiff_t left;
            size_t first, last;
            valid_columns(&w, ox, &left, &first, &last);
            for (size_t ky = valid.first; ky < valid.last; ky++) {
                const float *row = rows + ky * kernel_row;
                const ptrdiff_t iy = valid.top + (ptrdiff_t)(ky * w.dilation_height);
                float *target = image + (iy * (ptrdiff_t)w.width + left) * (ptrdiff_t)pixel_stride;
                if (dense)
                    add(target + first * channels, row + first * channels, (last - first) * channels);
                else
                    for (size_t kx = first; kx < last; kx++)
                        add(target + kx * w.dilation_width * pixel_stride, row + kx * channels, channels);
            }
        }
    }
}
