#include "depthwise.h"
#include "window_inside.h"

/// Calls BODY(c, lanes) for runs of channels whose sums stay in registers.
#define FOR_EACH_RUN(channels, BODY)                                   \
    {                                                                  \
        size_t c_ = 0;                                                 \
        for (; c_ + 32 <= (channels); c_ += 32) BODY(c_, 32)           \
        for (; c_ + 8 <= (channels); c_ += 8) BODY(c_, 8)              \
        if (c_ < (channels)) BODY(c_, (channels)-c_)                   \
    }

/// One output pixel: the sum over the part of the window inside the image.
DT_INLINE void sum_window(const float *restrict source, const float *restrict weights, const float *restrict bias,
                          size_t channels, const dt_window *w, kernel_rows valid, size_t first, size_t last,
                          size_t lanes, float *restrict y, int accumulate) {
    float sum[32];
    for (size_t l = 0; l < lanes; l++) sum[l] = (bias ? bias[l] : 0) + (accumulate ? y[l] : 0);
    for (size_t ky = valid.first; ky < valid.last; ky++)
        for (size_t kx = first; kx < last; kx++) {
            const float *pixel = source + (ptrdiff_t)((ky * w->dilation_height * w->width + kx * w->dilation_width) * channels);
            const float *weight = weights + (ky * w->kernel_width + kx) * channels;
            for (size_t l = 0; l < lanes; l++) sum[l] += pixel[l] * weight[l];
        }
    for (size_t l = 0; l < lanes; l++) y[l] = sum[l];
}

DT_DISPATCH
void dt_depthwise_forward(const float *x, const float *weights, const float *bias, size_t channels, dt_window w,
                          size_t first_line, size_t lines, float *y, size_t stride, int accumulate) {
    y += first_line * w.output_width * stride;
    for (size_t line = first_line; line < first_line + lines; line++) {
        const float *image = x + line / w.output_height * w.height * w.width * channels;
        const kernel_rows valid = valid_rows(&w, line);
        for (size_t ox = 0; ox < w.output_width; ox++, y += stride) {
            ptrdiff_t left;
            size_t first, last;
            valid_columns(&w, ox, &left, &first, &last);
            const float *source = image + (valid.top * (ptrdiff_t)w.width + left) * (ptrdiff_t)channels;
#define BODY(c, lanes)                                                                                                \
    {                                                                                                                 \
        sum_window(source + c, weights + c, bias ? bias + c : 0, channels, &w, valid, first, last, lanes, y + c,      \
                   accumulate);                                                                                       \
    }
            FOR_EACH_RUN(channels, BODY)
#undef BODY
        }
    }
}

/// The output columns whose input column for kernel column `kx` lies inside the image: [first, last).
DT_INLINE void valid_outputs(const dt_window *w, size_t kx, size_t *first, size_t *last) {
    const size_t reach = kx * w->dilation_width;
    *first = reach >= w->padding_width ? 0 : (w->padding_width - reach + w->stride_width - 1) / w->stride_width;
    *last = reach >= w->width + w->padding_width ? 0
                                                 : (w->width + w->padding_width - reach - 1) / w->stride_width + 1;
    if (*last > w->output_width) *last = w->output_width;
}

/// sums += Σ x · dy over the pixels of a line, which are added up apart first.
DT_INLINE void sum_line(const float *restrict x, size_t x_step, const float *restrict dy, size_t dy_step, size_t pixels,
                        size_t lanes, float *restrict sums) {
    float sum[32];
    for (size_t l = 0; l < lanes; l++) sum[l] = 0;
    for (size_t p = 0; p < pixels; p++)
        for (size_t l = 0; l < lanes; l++) sum[l] += x[p * x_step + l] * dy[p * dy_step + l];
    for (size_t l = 0; l < lanes; l++) sums[l] += sum[l];
}

/// Calls BODY for each kernel position of each line with the pixels that it connects: the first output pixel and the input
/// pixel that it sees, `count` of them, `step` input pixels apart.
#define FOR_EACH_TAP(BODY)                                                                                       \
    for (size_t line = first_line; line < first_line + lines; line++) {                                          \
        const kernel_rows valid = valid_rows(&w, line);                                                          \
        for (size_t ky = valid.first; ky < valid.last; ky++)                                                     \
            for (size_t kx = 0; kx < w.kernel_width; kx++) {                                                     \
                size_t first, last;                                                                              \
                valid_outputs(&w, kx, &first, &last);                                                            \
                if (first >= last) continue;                                                                     \
                const size_t iy = (size_t)(valid.top + (ptrdiff_t)(ky * w.dilation_height));                     \
                const size_t ix = first * w.stride_width + kx * w.dilation_width - w.padding_width;              \
                const size_t input = (line / w.output_height * w.height + iy) * w.width + ix;                    \
                const size_t output = line * w.output_width + first;                                             \
                const size_t count = last - first;                                                               \
                const size_t tap = ky * w.kernel_width + kx;                                                     \
                BODY                                                                                             \
            }                                                                                                    \
    }

#define SUM_RUN(c, lanes)                                                                                         \
    {                                                                                                             \
        sum_line(x + input * channels + c, w.stride_width * channels, dy + output * stride + c, stride, count,    \
                 lanes, sums + tap * channels + c);                                                               \
    }
DT_DISPATCH
void dt_depthwise_weight_gradient(const float *x, const float *dy, size_t stride, size_t channels, dt_window w,
                                  size_t first_line, size_t lines, float *sums) {
    FOR_EACH_TAP({ FOR_EACH_RUN(channels, SUM_RUN) })
}

DT_INLINE void spread_line(const float *restrict dy, size_t dy_step, const float *restrict weight, size_t channels,
                           size_t pixels, float *restrict dx, size_t dx_step) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) dx[p * dx_step + c] += dy[p * dy_step + c] * weight[c];
}

DT_DISPATCH
void dt_depthwise_input_gradient(const float *dy, size_t stride, const float *weights, size_t channels, dt_window w,
                                 size_t first_line, size_t lines, float *dx) {
    FOR_EACH_TAP({
        spread_line(dy + output * stride, stride, weights + tap * channels, channels, count, dx + input * channels,
                    w.stride_width * channels);
    })
}
