#include "activation.h"
#include "dispatch.h"

DT_INLINE float apply(float x, dt_activation activation, float slope) {
    switch (activation) {
    case DT_IDENTITY: return x;
    case DT_RELU: return x < 0 ? 0 : x;                // NaN stays NaN: a broken step must be seen
    case DT_TANH: return dt_tanh(x);
    case DT_SIGMOID: return dt_sigmoid(x);
    case DT_LEAKY_RELU: return x < 0 ? slope * x : x;
    }
    __builtin_unreachable();
}

/// The derivative as a function of the output.
DT_INLINE float derivative(float y, dt_activation activation, float slope) {
    switch (activation) {
    case DT_IDENTITY: return 1;
    case DT_RELU: return y > 0 ? 1.0f : 0.0f;
    case DT_TANH: return 1 - y * y;
    case DT_SIGMOID: return y * (1 - y);
    case DT_LEAKY_RELU: return y > 0 ? 1.0f : slope;
    }
    __builtin_unreachable();
}

// One loop per activation, chosen outside it: the constant makes the switch above disappear.
#define FOR_EACH_ACTIVATION(activation, CASE)      \
    switch (activation) {                          \
    case DT_IDENTITY: CASE(DT_IDENTITY) break;     \
    case DT_RELU: CASE(DT_RELU) break;             \
    case DT_TANH: CASE(DT_TANH) break;             \
    case DT_SIGMOID: CASE(DT_SIGMOID) break;       \
    case DT_LEAKY_RELU: CASE(DT_LEAKY_RELU) break; \
    }

DT_INLINE void forward_rows(float *restrict y, size_t pixels, size_t channels, size_t stride,
                            const float *restrict bias, dt_activation activation, float slope) {
    for (size_t p = 0; p < pixels; p++, y += stride)
        if (bias)
            for (size_t c = 0; c < channels; c++) y[c] = apply(y[c] + bias[c], activation, slope);
        else
            for (size_t c = 0; c < channels; c++) y[c] = apply(y[c], activation, slope);
}

/// A whole number of pixels and of vectors: where pixels lie next to each other and their channels do not fill vectors,
/// rows are treated in tiles of 16 pixels, so that no loop has a ragged end.
enum { TILE_PIXELS = 16, TILE_CHANNELS = 64 };

DT_INLINE void forward_tiles(float *restrict y, size_t tiles, size_t channels, const float *restrict bias,
                             dt_activation activation, float slope) {
    float pattern[TILE_PIXELS * TILE_CHANNELS];
    const size_t tile = TILE_PIXELS * channels;
    for (size_t i = 0; i < tile; i++) pattern[i] = bias ? bias[i % channels] : 0;
    for (size_t t = 0; t < tiles; t++, y += tile)
        for (size_t i = 0; i < tile; i += 16)
            for (size_t lane = i; lane < i + 16; lane++) y[lane] = apply(y[lane] + pattern[lane], activation, slope);
}

DT_INLINE void forward_pixels(float *y, size_t pixels, size_t channels, size_t stride, const float *bias,
                              dt_activation activation, float slope) {
    size_t tiles = 0;
    if (stride == channels && channels % 16 != 0 && channels <= TILE_CHANNELS) {
        tiles = pixels / TILE_PIXELS;
        forward_tiles(y, tiles, channels, bias, activation, slope);
    }
    forward_rows(y + tiles * TILE_PIXELS * channels, pixels - tiles * TILE_PIXELS, channels, stride, bias, activation,
                 slope);
}

DT_DISPATCH
void dt_bias_activation(float *y, size_t pixels, size_t channels, size_t stride, const float *bias,
                        dt_activation activation, float slope) {
#define CASE(kind) forward_pixels(y, pixels, channels, stride, bias, kind, slope);
    FOR_EACH_ACTIVATION(activation, CASE)
#undef CASE
}

DT_INLINE void backward_rows(float *restrict gradient, size_t gradient_stride, const float *restrict y,
                             size_t y_stride, size_t pixels, size_t channels, float *restrict bias_gradient,
                             dt_activation activation, float slope) {
    for (size_t p = 0; p < pixels; p++, gradient += gradient_stride, y += y_stride) {
        if (activation != DT_IDENTITY)
            for (size_t c = 0; c < channels; c++) gradient[c] *= derivative(y[c], activation, slope);
        if (bias_gradient)
            for (size_t c = 0; c < channels; c++) bias_gradient[c] += gradient[c];
    }
}

DT_INLINE void backward_tiles(float *restrict gradient, const float *restrict y, size_t tiles, size_t channels,
                              float *restrict bias_gradient, dt_activation activation, float slope) {
    float sums[TILE_PIXELS * TILE_CHANNELS];
    const size_t tile = TILE_PIXELS * channels;
    for (size_t i = 0; i < tile; i++) sums[i] = 0;
    for (size_t t = 0; t < tiles; t++, gradient += tile, y += tile)
        for (size_t i = 0; i < tile; i += 16)
            for (size_t lane = i; lane < i + 16; lane++) {
                const float g = gradient[lane] * derivative(y[lane], activation, slope);
                if (activation != DT_IDENTITY) gradient[lane] = g;    // the identity writes nothing: others may read
                sums[lane] += g;
            }
    if (bias_gradient)
        for (size_t i = 0; i < tile; i++) bias_gradient[i % channels] += sums[i];
}

DT_INLINE void backward_pixels(float *gradient, size_t gradient_stride, const float *y, size_t y_stride, size_t pixels,
                               size_t channels, float *bias_gradient, dt_activation activation, float slope) {
    size_t tiles = 0;
    if (gradient_stride == channels && y_stride == channels && channels % 16 != 0 && channels <= TILE_CHANNELS &&
        (bias_gradient || activation != DT_IDENTITY)) {
        tiles = pixels / TILE_PIXELS;
        backward_tiles(gradient, y, tiles, channels, bias_gradient, activation, slope);
    }
    const size_t done = tiles * TILE_PIXELS;
    backward_rows(gradient + done * channels, gradient_stride, y + done * channels, y_stride, pixels - done, channels,
                  bias_gradient, activation, slope);
}

DT_DISPATCH
void dt_bias_activation_backward(float *gradient, size_t gradient_stride, const float *y, size_t y_stride,
                                 size_t pixels, size_t channels, float *bias_gradient, dt_activation activation,
                                 float slope) {
#define CASE(kind) \
    backward_pixels(gradient, gradient_stride, y, y_stride, pixels, channels, bias_gradient, kind, slope);
    FOR_EACH_ACTIVATION(activation, CASE)
#undef CASE
}

DT_DISPATCH
void dt_activation_forward(const float *x, float *y, size_t count, dt_activation activation, float slope) {
#define CASE(kind) \
    for (size_t i = 0; i < count; i++) y[i] = apply(x[i], kind, slope);
    FOR_EACH_ACTIVATION(activation, CASE)
#undef CASE
}

DT_DISPATCH
void dt_activation_backward(const float *y, const float *dy, float *dx, size_t count, dt_activation activation,
                            float slope, int accumulate) {
#define CASE(kind)                                                                                \
    if (accumulate)                                                                               \
        for (size_t i = 0; i < count; i++) dx[i] += dy[i] * derivative(y[i], kind, slope);        \
    else                                                                                          \
        for (size_t i = 0; i < count; i++) dx[i] = dy[i] * derivative(y[i], kind, slope);
    FOR_EACH_ACTIVATION(activation, CASE)
#undef CASE
}

DT_DISPATCH
void dt_scale_shift_activation(float *y, size_t pixels, size_t channels, size_t stride, const float *restrict scale,
                               const float *restrict shift, const float *restrict residual, dt_activation activation,
                               float slope) {
#define CASE(kind)                                                                                                \
    for (size_t p = 0; p < pixels; p++, y += stride) {                                                            \
        if (residual)                                                                                             \
            for (size_t c = 0; c < channels; c++)                                                                 \
                y[c] = apply(y[c] * scale[c] + shift[c] + residual[p * channels + c], kind, slope);               \
        else                                                                                                      \
            for (size_t c = 0; c < channels; c++) y[c] = apply(y[c] * scale[c] + shift[c], kind, slope);          \
    }
    FOR_EACH_ACTIVATION(activation, CASE)
#undef CASE
}
