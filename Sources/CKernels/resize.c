#include "dispatch.h"
#include "resize.h"

typedef int32_t dt_int4 __attribute__((vector_size(16)));
typedef uint8_t dt_byte4 __attribute__((vector_size(4)));

enum { HALF = 1 << (DT_RESIZE_BITS - 1) };

DT_INLINE int32_t dt_to_byte(int32_t sum) {
    sum >>= DT_RESIZE_BITS;
    return sum > 255 ? 255 : sum;
}

/// Four bytes at once: the three channels of a pixel and one byte of the next, which is ignored.
DT_INLINE dt_int4 dt_load_pixel(const uint8_t *pixel) {
    dt_byte4 bytes;
    memcpy(&bytes, pixel, 4);
    return __builtin_convertvector(bytes, dt_int4);
}

DT_INLINE void dt_resize_lines_of_three(const uint8_t *source, size_t source_stride, size_t lines,
                                        const int32_t *first, const int32_t *weights, size_t taps, uint8_t *target,
                                        size_t target_width) {
    for (size_t line = 0; line < lines; line++, source += source_stride, target += 3 * target_width) {
        for (size_t x = 0; x < target_width; x++) {
            const uint8_t *pixel = source + 3 * first[x];
            const int32_t *weight = weights + x * taps;
            dt_int4 sum = {HALF, HALF, HALF, HALF};
            for (size_t k = 0; k < taps; k++) sum += dt_load_pixel(pixel + 3 * k) * weight[k];
            sum >>= DT_RESIZE_BITS;
            sum = __builtin_elementwise_min(sum, (dt_int4){255, 255, 255, 255});
            dt_byte4 bytes = __builtin_convertvector(sum, dt_byte4);
            // The fourth byte is overwritten by the next pixel.
            memcpy(target + 3 * x, &bytes, 4);
        }
    }
}

DT_INLINE void dt_resize_lines_of_any(const uint8_t *source, size_t source_stride, size_t lines, size_t channels,
                                      const int32_t *first, const int32_t *weights, size_t taps, uint8_t *target,
                                      size_t target_width) {
    for (size_t line = 0; line < lines; line++, source += source_stride, target += channels * target_width)
        for (size_t x = 0; x < target_width; x++)
            for (size_t c = 0; c < channels; c++) {
                const uint8_t *pixel = source + channels * first[x] + c;
                const int32_t *weight = weights + x * taps;
                int32_t sum = HALF;
                for (size_t k = 0; k < taps; k++) sum += pixel[channels * k] * weight[k];
                target[channels * x + c] = (uint8_t)dt_to_byte(sum);
            }
}

DT_DISPATCH
void dt_resize_lines(const uint8_t *source, size_t source_stride, size_t lines, size_t channels, const int32_t *first,
                     const int32_t *weights, size_t taps, uint8_t *target, size_t target_width) {
    if (channels == 3) {
        // Known counts are unrolled: those of every enlargement, and of reductions to half.
        switch (taps) {
        case 2: dt_resize_lines_of_three(source, source_stride, lines, first, weights, 2, target, target_width); return;
        case 3: dt_resize_lines_of_three(source, source_stride, lines, first, weights, 3, target, target_width); return;
        case 4: dt_resize_lines_of_three(source, source_stride, lines, first, weights, 4, target, target_width); return;
        default:
            dt_resize_lines_of_three(source, source_stride, lines, first, weights, taps, target, target_width);
            return;
        }
    }
    if (channels == 1)
        dt_resize_lines_of_any(source, source_stride, lines, 1, first, weights, taps, target, target_width);
    else
        dt_resize_lines_of_any(source, source_stride, lines, channels, first, weights, taps, target, target_width);
}

/// `count` bytes of one target line; the sums stay in registers where `count` is a constant.
DT_INLINE void dt_resize_column_block(const uint8_t *source, size_t source_stride, const int32_t *weight, size_t taps,
                                      uint8_t *target, size_t count) {
    int32_t sums[64];
    for (size_t j = 0; j < count; j++) sums[j] = HALF;
    for (size_t k = 0; k < taps; k++)
        for (size_t j = 0; j < count; j++) sums[j] += source[k * source_stride + j] * weight[k];
    for (size_t j = 0; j < count; j++) target[j] = (uint8_t)dt_to_byte(sums[j]);
}

DT_DISPATCH
void dt_resize_columns(const uint8_t *restrict source, size_t source_stride, size_t bytes, const int32_t *first,
                       const int32_t *weights, size_t taps, uint8_t *restrict target, size_t target_lines) {
    for (size_t y = 0; y < target_lines; y++, target += bytes) {
        const uint8_t *line = source + source_stride * first[y];
        const int32_t *weight = weights + y * taps;
        size_t j = 0;
        for (; j + 64 <= bytes; j += 64)
            dt_resize_column_block(line + j, source_stride, weight, taps, target + j, 64);
        for (; j + 16 <= bytes; j += 16)
            dt_resize_column_block(line + j, source_stride, weight, taps, target + j, 16);
        if (j < bytes) dt_resize_column_block(line + j, source_stride, weight, taps, target + j, bytes - j);
    }
}
