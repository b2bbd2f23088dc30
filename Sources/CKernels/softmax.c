#include "softmax.h"
#include "dispatch.h"

DT_DISPATCH
void dt_softmax_forward(const float *x, size_t rows, size_t count, float *y) {
#pragma clang fp reassociate(on)
    for (size_t row = 0; row < rows; row++, x += count, y += count) {
        float largest = x[0], sum = 0;
        for (size_t i = 1; i < count; i++) largest = x[i] > largest ? x[i] : largest;
        // The same memory or none in common.
#pragma clang loop vectorize(assume_safety)
        for (size_t i = 0; i < count; i++) y[i] = dt_exp(x[i] - largest);
        for (size_t i = 0; i < count; i++) sum += y[i];
        const float scale = 1.0f / sum;
        for (size_t i = 0; i < count; i++) y[i] *= scale;
    }
}

DT_DISPATCH
void dt_softmax_backward(const float *y, const float *dy, size_t rows, size_t count, float *dx,
                         int accumulate) {
#pragma clang fp reassociate(on)
    for (size_t row = 0; row < rows; row++, y += count, dy += count, dx += count) {
        float sum = 0;
        for (size_t i = 0; i < count; i++) sum += dy[i] * y[i];
        // The same memory or none in common.
#pragma clang loop vectorize(assume_safety)
        for (size_t i = 0; i < count; i++) {
            const float gradient = y[i] * (dy[i] - sum);
            dx[i] = accumulate ? dx[i] + gradient : gradient;
        }
    }
}
