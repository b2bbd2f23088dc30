#include "batch_norm.h"
#include "dispatch.h"

typedef float vector __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t mask_vector __attribute__((vector_size(64), aligned(4), may_alias));

// fp32 sums run over this many pixels before they go into doubles: enough to keep doubles out of the way, few enough to
// keep the rounding of fp32 below that of the data.
enum { LANES = 16, BLOCK = 128 };

// A macro: a function that returns such a vector would have another calling convention for each instruction set.
#define LOAD(p) (*(const vector *)(p))

/// Sums of one block over `vectors` × 16 channels, which stay in registers.
DT_INLINE void sum_block(const float *x, size_t pixels, size_t channels, const float *shift, size_t vectors,
                         double *sum, double *square) {
    vector s[2] = {{0}, {0}}, q[2] = {{0}, {0}}, k[2];
    for (size_t v = 0; v < vectors; v++) k[v] = LOAD(shift + v * LANES);
    for (size_t p = 0; p < pixels; p++, x += channels)
        for (size_t v = 0; v < vectors; v++) {
            const vector d = LOAD(x + v * LANES) - k[v];
            s[v] += d;
            q[v] += d * d;
        }
    for (size_t v = 0; v < vectors; v++)
        for (size_t lane = 0; lane < LANES; lane++) {
            sum[v * LANES + lane] += s[v][lane];
            square[v * LANES + lane] += q[v][lane];
        }
}

DT_INLINE void sum_rest(const float *x, size_t pixels, size_t channels, const float *shift, size_t count, double *sum,
                        double *square) {
    float s[LANES] = {0}, q[LANES] = {0};
    for (size_t p = 0; p < pixels; p++, x += channels)
        for (size_t c = 0; c < count; c++) {
            const float d = x[c] - shift[c];
            s[c] += d;
            q[c] += d * d;
        }
    for (size_t c = 0; c < count; c++) {
        sum[c] += s[c];
        square[c] += q[c];
    }
}

DT_DISPATCH
void dt_batch_norm_sums(const float *x, size_t pixels, size_t channels, const float *shift, double *sum,
                        double *square) {
    for (size_t first = 0; first < pixels; first += BLOCK, x += BLOCK * channels) {
        const size_t count = pixels - first < BLOCK ? pixels - first : BLOCK;
        size_t c = 0;
        for (; c + 2 * LANES <= channels; c += 2 * LANES)
            sum_block(x + c, count, channels, shift + c, 2, sum + c, square + c);
        for (; c + LANES <= channels; c += LANES)
            sum_block(x + c, count, channels, shift + c, 1, sum + c, square + c);
        if (c < channels) sum_rest(x + c, count, channels, shift + c, channels - c, sum + c, square + c);
    }
}

DT_INLINE void apply_rows(const float *x, size_t pixels, size_t channels, const float *restrict scale,
                          const float *restrict shift, const float *residual, int relu, float *y, size_t y_stride) {
    for (size_t p = 0; p < pixels; p++, x += channels, y += y_stride) {
        if (residual) {
            for (size_t c = 0; c < channels; c++) {
                const float z = x[c] * scale[c] + shift[c] + residual[c];
                y[c] = relu && z < 0 ? 0 : z;              // NaN stays NaN
            }
            residual += channels;
        } else
            for (size_t c = 0; c < channels; c++) {
                const float z = x[c] * scale[c] + shift[c];
                y[c] = relu && z < 0 ? 0 : z;
            }
    }
}

DT_DISPATCH
void dt_batch_norm_apply(const float *x, size_t pixels, size_t channels, const float *scale, const float *shift,
                         const float *residual, int relu, float *y, size_t y_stride) {
    if (relu) apply_rows(x, pixels, channels, scale, shift, residual, 1, y, y_stride);
    else apply_rows(x, pixels, channels, scale, shift, residual, 0, y, y_stride);
}

/// What decides whether a gradient passes ReLU: a constant in each copy of the loops.
typedef enum { PASS_ALL, PASS_BY_OUTPUT, PASS_BY_INPUT } pass_rule;

DT_INLINE pass_rule rule_of(const dt_batch_norm_mask *mask) {
    return mask->y ? PASS_BY_OUTPUT : mask->scale ? PASS_BY_INPUT : PASS_ALL;
}

/// The mask for the part that begins at pixel `pixel` and channel `channel`.
DT_INLINE dt_batch_norm_mask mask_at(const dt_batch_norm_mask *mask, size_t pixel, size_t channel) {
    return (dt_batch_norm_mask){.y = mask->y ? mask->y + pixel * mask->y_stride + channel : 0,
                                .y_stride = mask->y_stride,
                                .scale = mask->scale ? mask->scale + channel : 0,
                                .shift = mask->shift ? mask->shift + channel : 0};
}

/// dz of one element.
DT_INLINE float passed(const pass_rule rule, float dy, float y, float x, float scale, float shift) {
    switch (rule) {
    case PASS_ALL: return dy;
    case PASS_BY_OUTPUT: return y > 0 ? dy : 0;
    default: return x * scale + shift > 0 ? dy : 0;
    }
}

DT_INLINE void backward_block(const pass_rule rule, const float *dy, size_t dy_stride, dt_batch_norm_mask mask,
                              const float *x, size_t pixels, size_t channels, const float *mean, size_t vectors,
                              double *sum, double *product) {
    vector s[2] = {{0}, {0}}, q[2] = {{0}, {0}}, k[2], scale[2], shift[2];
    for (size_t v = 0; v < vectors; v++) {
        k[v] = LOAD(mean + v * LANES);
        if (rule == PASS_BY_INPUT) scale[v] = LOAD(mask.scale + v * LANES), shift[v] = LOAD(mask.shift + v * LANES);
    }
    for (size_t p = 0; p < pixels; p++)
        for (size_t v = 0; v < vectors; v++) {
            vector g = LOAD(dy + p * dy_stride + v * LANES);
            const vector value = LOAD(x + p * channels + v * LANES);
            if (rule == PASS_BY_OUTPUT) g = (vector)((mask_vector)g & (LOAD(mask.y + p * mask.y_stride + v * LANES) > 0));
            if (rule == PASS_BY_INPUT) g = (vector)((mask_vector)g & (value * scale[v] + shift[v] > 0));
            s[v] += g;
            q[v] += g * (value - k[v]);
        }
    for (size_t v = 0; v < vectors; v++)
        for (size_t lane = 0; lane < LANES; lane++) {
            sum[v * LANES + lane] += s[v][lane];
            product[v * LANES + lane] += q[v][lane];
        }
}

DT_INLINE void backward_rest(const pass_rule rule, const float *dy, size_t dy_stride, dt_batch_norm_mask mask,
                             const float *x, size_t pixels, size_t channels, const float *mean, size_t count,
                             double *sum, double *product) {
    float s[LANES] = {0}, q[LANES] = {0};
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < count; c++) {
            const float value = x[p * channels + c];
            const float g = passed(rule, dy[p * dy_stride + c], rule == PASS_BY_OUTPUT ? mask.y[p * mask.y_stride + c] : 0,
                                   value, rule == PASS_BY_INPUT ? mask.scale[c] : 0,
                                   rule == PASS_BY_INPUT ? mask.shift[c] : 0);
            s[c] += g;
            q[c] += g * (value - mean[c]);
        }
    for (size_t c = 0; c < count; c++) {
        sum[c] += s[c];
        product[c] += q[c];
    }
}

DT_INLINE void backward_sums(const pass_rule rule, const float *dy, size_t dy_stride, const dt_batch_norm_mask *mask,
                             const float *x, size_t pixels, size_t channels, const float *mean, double *sum,
                             double *product) {
#define AT(c) rule, dy + first * dy_stride + c, dy_stride, mask_at(mask, first, c), x + first * channels + c, count, \
              channels, mean + c
    for (size_t first = 0; first < pixels; first += BLOCK) {
        const size_t count = pixels - first < BLOCK ? pixels - first : BLOCK;
        size_t c = 0;
        for (; c + 2 * LANES <= channels; c += 2 * LANES) backward_block(AT(c), 2, sum + c, product + c);
        for (; c + LANES <= channels; c += LANES) backward_block(AT(c), 1, sum + c, product + c);
        if (c < channels) backward_rest(AT(c), channels - c, sum + c, product + c);
    }
#undef AT
}

#define BY_RULE(function, mask, ...)                                                                                   \
    switch (rule_of(&mask)) {                                                                                          \
    case PASS_ALL: function(PASS_ALL, __VA_ARGS__); break;                                                             \
    case PASS_BY_OUTPUT: function(PASS_BY_OUTPUT, __VA_ARGS__); break;                                                 \
    case PASS_BY_INPUT: function(PASS_BY_INPUT, __VA_ARGS__); break;                                                   \
    }

DT_DISPATCH
void dt_batch_norm_backward_sums(const float *dy, size_t dy_stride, dt_batch_norm_mask mask, const float *x, size_t pixels,
                                 size_t channels, const float *mean, double *sum, double *product) {
    BY_RULE(backward_sums, mask, dy, dy_stride, &mask, x, pixels, channels, mean, sum, product)
}

// A row goes through a buffer of this many channels, so that dz is formed once for both results and dx may be dy.
enum { CHUNK = 64 };

DT_INLINE void propagate(const float *dz, const float *x, size_t count, size_t first, dt_batch_norm_gradient g,
                         int accumulate, float *dx) {
    const float *scale = g.scale + first;
    if (!g.slope) {
        for (size_t c = 0; c < count; c++) dx[c] = scale[c] * dz[c] + (accumulate ? dx[c] : 0);
        return;
    }
    const float *offset = g.offset + first, *mean = g.mean + first, *slope = g.slope + first;
    for (size_t c = 0; c < count; c++)
        dx[c] = scale[c] * (dz[c] - offset[c] - (x[c] - mean[c]) * slope[c]) + (accumulate ? dx[c] : 0);
}

DT_INLINE void backward(const pass_rule rule, const float *dy, size_t dy_stride, const dt_batch_norm_mask *mask,
                        const float *x, size_t pixels, size_t channels, dt_batch_norm_gradient gradient, float *dx,
                        int accumulate, float *residual, int accumulate_residual) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t first = 0; first < channels; first += CHUNK) {
            const size_t count = channels - first < CHUNK ? channels - first : CHUNK;
            const dt_batch_norm_mask part = mask_at(mask, p, first);
            const float *g = dy + p * dy_stride + first, *input = x ? x + p * channels + first : 0;
            float dz[CHUNK];
            for (size_t c = 0; c < count; c++)
                dz[c] = passed(rule, g[c], rule == PASS_BY_OUTPUT ? part.y[c] : 0, rule == PASS_BY_INPUT ? input[c] : 0,
                               rule == PASS_BY_INPUT ? part.scale[c] : 0, rule == PASS_BY_INPUT ? part.shift[c] : 0);
            if (dx && accumulate) propagate(dz, input, count, first, gradient, 1, dx + p * channels + first);
            else if (dx) propagate(dz, input, count, first, gradient, 0, dx + p * channels + first);
            // Last, because the residual may be x itself: its gradient then adds to the one just written.
            if (!residual) continue;
            float *r = residual + p * channels + first;
            if (accumulate_residual)
                for (size_t c = 0; c < count; c++) r[c] += dz[c];
            else
                for (size_t c = 0; c < count; c++) r[c] = dz[c];
        }
}

DT_DISPATCH
void dt_batch_norm_backward(const float *dy, size_t dy_stride, dt_batch_norm_mask mask, const float *x, size_t pixels,
                            size_t channels, dt_batch_norm_gradient gradient, float *dx, int accumulate,
                            float *residual, int accumulate_residual) {
    BY_RULE(backward, mask, dy, dy_stride, &mask, x, pixels, channels, gradient, dx, accumulate, residual,
            accumulate_residual)
}
