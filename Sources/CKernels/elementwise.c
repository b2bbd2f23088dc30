#include "elementwise.h"
#include "dispatch.h"

DT_DISPATCH
void dt_add_to(float *to, const float *from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

DT_DISPATCH
void dt_add(const float *a, const float *b, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

DT_DISPATCH
void dt_multiply(const float *a, const float *b, float *y, size_t count, int accumulate) {
    if (accumulate)
        for (size_t i = 0; i < count; i++) y[i] += a[i] * b[i];
    else
        for (size_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}

DT_DISPATCH
void dt_scale_shift(const float *x, float *y, size_t count, float scale, float shift, int accumulate) {
    // The same memory or none in common: either way an element depends on no other one.
    if (accumulate)
#pragma clang loop vectorize(assume_safety)
        for (size_t i = 0; i < count; i++) y[i] += scale * x[i] + shift;
    else
#pragma clang loop vectorize(assume_safety)
        for (size_t i = 0; i < count; i++) y[i] = scale * x[i] + shift;
}

DT_DISPATCH
void dt_copy_rows(const float *from, size_t from_stride, float *to, size_t to_stride, size_t rows, size_t count,
                  int accumulate) {
    for (size_t row = 0; row < rows; row++, from += from_stride, to += to_stride) {
        const float *restrict source = from;
        float *restrict target = to;
        if (accumulate)
            for (size_t i = 0; i < count; i++) target[i] += source[i];
        else
            for (size_t i = 0; i < count; i++) target[i] = source[i];
    }
}

DT_DISPATCH
void dt_transpose(const float *from, float *to, size_t images, size_t rows, size_t columns, int accumulate) {
    for (size_t image = 0; image < images; image++, from += rows * columns, to += rows * columns)
        for (size_t c = 0; c < columns; c++)
            for (size_t r = 0; r < rows; r++)
                to[c * rows + r] = from[r * columns + c] + (accumulate ? to[c * rows + r] : 0);
}
