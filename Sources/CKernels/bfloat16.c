#include "bfloat16.h"
#include "element.h"

DT_DISPATCH
void dt_bf16_round(const float *restrict values, float *restrict residual, uint16_t *restrict rounded, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t sent = rounded_to_bf16(values[i]);
        rounded[i] = sent;
        residual[i] = values[i] - widened_bf16(sent);
    }
}

DT_DISPATCH
void dt_bf16_sum(const uint16_t *parts, size_t part_count, size_t stride, float *restrict residual,
                 uint16_t *restrict rounded, size_t count) {
    enum { BLOCK = 1024 };
    float sum[BLOCK];
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t length = smaller(count - start, BLOCK);
        for (size_t i = 0; i < length; i++) sum[i] = widened_bf16(parts[start + i]);
        for (size_t part = 1; part < part_count; part++) {
            const uint16_t *next = parts + part * stride + start;
            for (size_t i = 0; i < length; i++) sum[i] += widened_bf16(next[i]);
        }
        for (size_t i = 0; i < length; i++) {
            uint16_t sent = rounded_to_bf16(sum[i]);
            rounded[start + i] = sent;
            residual[start + i] += sum[i] - widened_bf16(sent);
        }
    }
}

DT_DISPATCH
void dt_bf16_round_rows(const float *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows, size_t count) {
    if (from_stride == count && to_stride == count) {
        count *= rows;
        rows = 1;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *restrict x = from + row * from_stride;
        uint16_t *restrict y = to + row * to_stride;
        for (size_t i = 0; i < count; i++) y[i] = rounded_to_bf16(x[i]);
    }
}

DT_DISPATCH
void dt_bf16_widen_rows(const uint16_t *from, size_t from_stride, float *to, size_t to_stride, size_t rows, size_t count) {
    for (size_t row = 0; row < rows; row++) {
        const uint16_t *restrict x = from + row * from_stride;
        float *restrict y = to + row * to_stride;
        for (size_t i = 0; i < count; i++) y[i] = widened_bf16(x[i]);
    }
}

DT_DISPATCH
void dt_bf16_copy_rows(const uint16_t *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows,
                       size_t count, int accumulate) {
    for (size_t row = 0; row < rows; row++) {
        const uint16_t *restrict x = from + row * from_stride;
        uint16_t *restrict y = to + row * to_stride;
        if (accumulate)
            for (size_t i = 0; i < count; i++) y[i] = rounded_to_bf16(widened_bf16(y[i]) + widened_bf16(x[i]));
        else memcpy(y, x, count * sizeof *y);
    }
}

DT_DISPATCH
void dt_bf16_relu(uint16_t *y, size_t rows, size_t count, size_t stride) {
    for (size_t row = 0; row < rows; row++, y += stride)
        for (size_t i = 0; i < count; i++) y[i] = widened_bf16(y[i]) < 0 ? 0 : y[i];        // NaN stays NaN
}

DT_DISPATCH
void dt_bf16_bias_relu_backward(uint16_t *gradient, size_t gradient_stride, const uint16_t *y, size_t y_stride, size_t rows,
                                size_t count, float *bias_gradient, int relu) {
    for (size_t row = 0; row < rows; row++) {
        uint16_t *restrict g = gradient + row * gradient_stride;
        const uint16_t *restrict output = y + row * y_stride;
        if (relu)
            for (size_t i = 0; i < count; i++) g[i] = widened_bf16(output[i]) > 0 ? g[i] : 0;
        if (bias_gradient)
            for (size_t i = 0; i < count; i++) bias_gradient[i] += widened_bf16(g[i]);
    }
}
