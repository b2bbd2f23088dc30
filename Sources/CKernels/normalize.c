#include "normalize.h"
#include "dispatch.h"

/// Scratch memory as rows of groups × width: four of floats, two of doubles, in which sums over pixels are taken.
typedef struct {
    float *restrict mean, *restrict scale, *restrict constant, *restrict slope;
    double *restrict first, *restrict second;
} scratch_rows;

size_t dt_normalize_scratch(dt_normalization norm) { return 8 * norm.groups * norm.width; }

DT_INLINE scratch_rows rows_in(float *scratch, size_t row) {
    double *sums = (double *)scratch;
    float *floats = scratch + 4 * row;
    return (scratch_rows){floats, floats + row, floats + 2 * row, floats + 3 * row, sums, sums + row};
}

DT_INLINE double total(const double *values, size_t count) {
#pragma clang fp reassociate(on)
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum;
}

/// The mean and the inverse deviation of each group of a block: the mean first, then the squares of what is left.
DT_INLINE void take_moments(const float *x, const dt_normalization *norm, scratch_rows rows, dt_moments *moments) {
    const size_t row = norm->groups * norm->width;
    const double share = 1.0 / (double)(norm->pixels * norm->width);
    for (size_t c = 0; c < row; c++) rows.first[c] = rows.second[c] = 0;
    for (size_t p = 0; p < norm->pixels; p++)
        for (size_t c = 0; c < row; c++) rows.first[c] += x[p * row + c];
    for (size_t g = 0; g < norm->groups; g++) {
        moments[g].mean = (float)(total(rows.first + g * norm->width, norm->width) * share);
        for (size_t c = 0; c < norm->width; c++) rows.mean[g * norm->width + c] = moments[g].mean;
    }
    for (size_t p = 0; p < norm->pixels; p++)
        for (size_t c = 0; c < row; c++) {
            const float difference = x[p * row + c] - rows.mean[c];
            rows.second[c] += difference * difference;
        }
    for (size_t g = 0; g < norm->groups; g++) {
        const double variance = total(rows.second + g * norm->width, norm->width) * share;
        moments[g].inverse = (float)(1.0 / __builtin_sqrt(variance + (double)norm->epsilon));
    }
}

DT_DISPATCH
void dt_normalize_forward(const float *x, size_t blocks, dt_normalization norm, const float *weight, const float *bias,
                          float *y, size_t y_stride, dt_moments *moments, float *scratch) {
    const size_t row = norm.groups * norm.width;
    const scratch_rows rows = rows_in(scratch, row);
    for (size_t block = 0; block < blocks; block++, moments += norm.groups) {
        take_moments(x, &norm, rows, moments);
        for (size_t g = 0; g < norm.groups; g++)
            for (size_t c = g * norm.width; c < (g + 1) * norm.width; c++) {
                rows.scale[c] = moments[g].inverse * (weight ? weight[c] : 1);
                rows.constant[c] = bias ? bias[c] : 0;
            }
        for (size_t p = 0; p < norm.pixels; p++, x += row, y += y_stride)
            for (size_t c = 0; c < row; c++) y[c] = (x[c] - rows.mean[c]) * rows.scale[c] + rows.constant[c];
    }
}

/// first[c] = Σ dy, second[c] = Σ dy · x̂ over the pixels of a block; `scale` holds the inverse deviations.
DT_INLINE void sum_gradients(const float *x, const float *dy, size_t dy_stride, const dt_normalization *norm,
                             scratch_rows rows) {
    const size_t row = norm->groups * norm->width;
    for (size_t c = 0; c < row; c++) rows.first[c] = rows.second[c] = 0;
    for (size_t p = 0; p < norm->pixels; p++)
        for (size_t c = 0; c < row; c++) {
            const float gradient = dy[p * dy_stride + c];
            rows.first[c] += gradient;
            rows.second[c] += gradient * ((x[p * row + c] - rows.mean[c]) * rows.scale[c]);
        }
}

DT_DISPATCH
void dt_normalize_backward(const float *x, const float *dy, size_t dy_stride, size_t blocks, dt_normalization norm,
                           const float *weight, const dt_moments *moments, float *weight_sum, float *bias_sum,
                           float *dx, int accumulate, float *scratch) {
    const size_t row = norm.groups * norm.width;
    const double share = 1.0 / (double)(norm.pixels * norm.width);
    const scratch_rows rows = rows_in(scratch, row);
    for (size_t block = 0; block < blocks; block++, moments += norm.groups) {
        for (size_t g = 0; g < norm.groups; g++)
            for (size_t c = g * norm.width; c < (g + 1) * norm.width; c++) {
                rows.mean[c] = moments[g].mean;
                rows.scale[c] = moments[g].inverse;
            }
        sum_gradients(x, dy, dy_stride, &norm, rows);
        for (size_t c = 0; weight_sum && c < row; c++) weight_sum[c] += (float)rows.second[c];
        for (size_t c = 0; bias_sum && c < row; c++) bias_sum[c] += (float)rows.first[c];
        if (dx) {
            for (size_t c = 0; weight && c < row; c++) {
                rows.first[c] *= weight[c];
                rows.second[c] *= weight[c];
            }
            for (size_t g = 0; g < norm.groups; g++) {
                const float inverse = moments[g].inverse;
                const float constant = (float)(total(rows.first + g * norm.width, norm.width) * share) * inverse;
                const float slope = (float)(total(rows.second + g * norm.width, norm.width) * share) * inverse * inverse;
                for (size_t c = g * norm.width; c < (g + 1) * norm.width; c++) {
                    rows.scale[c] = inverse * (weight ? weight[c] : 1);
                    rows.constant[c] = constant;
                    rows.slope[c] = slope;
                }
            }
            for (size_t p = 0; p < norm.pixels; p++, dx += row)
                for (size_t c = 0; c < row; c++) {
                    const float gradient = dy[p * dy_stride + c] * rows.scale[c] - rows.constant[c] -
                                           (x[p * row + c] - rows.mean[c]) * rows.slope[c];
                    dx[c] = accumulate ? dx[c] + gradient : gradient;
                }
        }
        x += norm.pixels * row;
        dy += norm.pixels * dy_stride;
    }
}
