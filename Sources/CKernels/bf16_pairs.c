#include "bf16_pairs.h"
#include "element.h"

/// An output pixel, and what one position of the kernel sees there.
typedef struct {
    size_t image, row, column;
    ptrdiff_t top, left;                 ///< the position's input pixel for the first output pixel
} walk;

/// The first element of the input pixel, or -1 in the padding; goes on to the next output pixel.
DT_INLINE ptrdiff_t next_pixel(walk *at, const dt_window *w, size_t pixel_stride) {
    const size_t y = (size_t)(at->top + (ptrdiff_t)(at->row * w->stride_height));
    const size_t x = (size_t)(at->left + (ptrdiff_t)(at->column * w->stride_width));
    const int is_inside = y < w->height && x < w->width;       // below zero is large
    const size_t offset = ((at->image * w->height + y) * w->width + x) * pixel_stride;
    if (++at->column == w->output_width) {
        at->column = 0;
        if (++at->row == w->output_height) at->row = 0, at->image++;
    }
    return is_inside ? (ptrdiff_t)offset : -1;
}

/// Pairs of the first `count` of 16 elements from two places on, each of which may be missing (-1).
DT_INLINE void pair(const void *x, const int is_bf16, ptrdiff_t one, ptrdiff_t other, size_t count, float *to) {
    if (is_bf16 && one >= 0 && other >= 0 && count >= VECTOR_LENGTH) {
        const uint16_t *halves = x;
        const vector_bits low = __builtin_convertvector(*(const half_vector *)(halves + one), vector_bits);
        const vector_bits high = __builtin_convertvector(*(const half_vector *)(halves + other), vector_bits);
        *(vector_bits *)to = low | high << 16;
        return;
    }
    vector low, high;
    vector_bits low_bits, high_bits;
    load(x, one >= 0 ? one : 0, is_bf16, one >= 0 ? count : 0, &low);
    load(x, other >= 0 ? other : 0, is_bf16, other >= 0 ? count : 0, &high);
    round_upper_half(&low, &low_bits);
    round_upper_half(&high, &high_bits);
    *(vector_bits *)to = low_bits >> 16 | (high_bits & 0xffff0000);
}

DT_INLINE void window_pairs(const int is_bf16, const void *x, const dt_window *w, size_t pixel_stride, size_t channels,
                            size_t kernel_row, size_t kernel_column, size_t first_pixel, size_t pixels, size_t panel,
                            float *pairs) {
    const size_t pair_count = (pixels + 1) / 2;
    walk at = {
        .image = first_pixel / (w->output_height * w->output_width),
        .row = first_pixel / w->output_width % w->output_height,
        .column = first_pixel % w->output_width,
        .top = (ptrdiff_t)(kernel_row * w->dilation_height) - (ptrdiff_t)w->padding_height,
        .left = (ptrdiff_t)(kernel_column * w->dilation_width) - (ptrdiff_t)w->padding_width,
    };
    for (size_t p = 0; p < pair_count; p++) {
        const ptrdiff_t one = next_pixel(&at, w, pixel_stride);
        const ptrdiff_t other = 2 * p + 1 < pixels ? next_pixel(&at, w, pixel_stride) : -1;
        for (size_t first = 0; first < channels; first += panel) {
            float *to = pairs + first * pair_count + p * panel;
            const size_t width = smaller(channels - first, panel);
            for (size_t c = 0; c < width; c += VECTOR_LENGTH) {
                const ptrdiff_t at_channel = (ptrdiff_t)(first + c);
                pair(x, is_bf16, one < 0 ? -1 : one + at_channel, other < 0 ? -1 : other + at_channel, width - c, to + c);
            }
        }
    }
}

DT_DISPATCH
void dt_bf16_window_pairs(dt_elements x, dt_window w, size_t pixel_stride, size_t channels, size_t kernel_row,
                          size_t kernel_column, size_t first_pixel, size_t pixels, size_t panel, float *pairs) {
#define ARGUMENTS x.start, &w, pixel_stride, channels, kernel_row, kernel_column, first_pixel, pixels, panel, pairs
    if (x.is_bf16) window_pairs(1, ARGUMENTS);
    else window_pairs(0, ARGUMENTS);
#undef ARGUMENTS
}
