#include "local_response_norm.h"
#include "dispatch.h"

// Scratch: one row with room for the window at both ends, and two rows of channels.
size_t dt_local_response_scratch(dt_local_response norm) { return 3 * norm.channels + norm.size; }

/// sums[c] = Σ row[c + j] over 0 ≤ j < size.
DT_INLINE void sum_windows(const float *restrict row, size_t channels, size_t size, float *restrict sums) {
    for (size_t c = 0; c < channels; c++) sums[c] = row[c];
    for (size_t j = 1; j < size; j++)
        for (size_t c = 0; c < channels; c++) sums[c] += row[c + j];
}

/// denominator[c] = d[c], power[c] = d[c]^−beta.
DT_INLINE void denominators(const float *restrict x, const dt_local_response *norm, float *restrict padded,
                            float *restrict denominator, float *restrict power) {
    const size_t channels = norm->channels, before = norm->size / 2, after = norm->size - 1 - before;
    const float share = norm->alpha / (float)norm->size;
    for (size_t c = 0; c < before; c++) padded[c] = 0;
    for (size_t c = 0; c < channels; c++) padded[before + c] = x[c] * x[c];
    for (size_t c = 0; c < after; c++) padded[before + channels + c] = 0;
    sum_windows(padded, channels, norm->size, denominator);
    for (size_t c = 0; c < channels; c++) denominator[c] = norm->k + share * denominator[c];
    if (norm->beta == 0.75f)                                     // the usual one, without a logarithm
        for (size_t c = 0; c < channels; c++) {
            const float root = __builtin_elementwise_sqrt(denominator[c]);
            power[c] = 1.0f / (root * __builtin_elementwise_sqrt(root));
        }
    else
        for (size_t c = 0; c < channels; c++) power[c] = powf(denominator[c], -norm->beta);
}

DT_DISPATCH
void dt_local_response_norm_forward(const float *x, size_t pixels, dt_local_response norm, float *y, size_t y_stride,
                                    float *scratch) {
    const size_t channels = norm.channels;
    float *denominator = scratch + channels + norm.size, *power = denominator + channels;
    for (size_t pixel = 0; pixel < pixels; pixel++, x += channels, y += y_stride) {
        denominators(x, &norm, scratch, denominator, power);
        for (size_t c = 0; c < channels; c++) y[c] = x[c] * power[c];
    }
}

DT_DISPATCH
void dt_local_response_norm_backward(const float *x, const float *dy, size_t dy_stride, size_t pixels,
                                     dt_local_response norm, float *dx, int accumulate, float *scratch) {
    const size_t channels = norm.channels, before = norm.size / 2, after = norm.size - 1 - before;
    const float factor = 2 * norm.beta * norm.alpha / (float)norm.size;
    float *padded = scratch, *denominator = scratch + channels + norm.size, *power = denominator + channels;
    for (size_t pixel = 0; pixel < pixels; pixel++, x += channels, dy += dy_stride, dx += channels) {
        denominators(x, &norm, padded, denominator, power);
        // The window of the way back is that of the way forward, mirrored.
        for (size_t c = 0; c < after; c++) padded[c] = 0;
        for (size_t c = 0; c < channels; c++) padded[after + c] = dy[c] * x[c] * power[c] / denominator[c];
        for (size_t c = 0; c < before; c++) padded[after + channels + c] = 0;
        sum_windows(padded, channels, norm.size, denominator);
        for (size_t c = 0; c < channels; c++) {
            const float gradient = dy[c] * power[c] - factor * x[c] * denominator[c];
            dx[c] = accumulate ? dx[c] + gradient : gradient;
        }
    }
}
