#include "recurrent.h"
#include "dispatch.h"

/// The gates of a row lie next to each other and are written where they were read: an element meets no other, which the
/// compiler cannot see.
#define DT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")

DT_DISPATCH
void dt_rnn_forward(dt_recurrent_step step, const float *gates, float *h, int relu) {
    const float *input = step.input_bias, *hidden = step.hidden_bias;
    for (size_t row = 0; row < step.rows; row++, gates += step.gate_stride, h += step.hidden)
        DT_INDEPENDENT
        for (size_t i = 0; i < step.hidden; i++) {
            const float x = gates[i] + (input ? input[i] + hidden[i] : 0);
            h[i] = relu ? (x < 0 ? 0 : x) : dt_tanh(x);
        }
}

DT_DISPATCH
void dt_rnn_backward(dt_recurrent_step step, float *gates, const float *h, const float *dy,
                     const float *dh, float *bias_sums, int relu) {
    for (size_t row = 0; row < step.rows; row++) {
        DT_INDEPENDENT
        for (size_t i = 0; i < step.hidden; i++) {
            const float d = (dh[i] + (dy ? dy[i] : 0)) * (relu ? (h[i] > 0 ? 1.0f : 0.0f) : 1 - h[i] * h[i]);
            gates[i] = d;
            bias_sums[i] += d;
        }
        gates += step.gate_stride, h += step.hidden, dh += step.hidden, dy = dy ? dy + step.hidden : dy;
    }
}

DT_DISPATCH
void dt_lstm_forward(dt_recurrent_step step, float *gates, const float *c_before, float *c, float *h) {
    const size_t n = step.hidden;
    const float *x = step.input_bias, *y = step.hidden_bias;
    for (size_t row = 0; row < step.rows; row++) {
        float *restrict g = gates + row * step.gate_stride;
        float *restrict to = c + row * n, *restrict out = h + row * n;
        const float *restrict from = c_before + row * n;
#define LSTM_STEP(BIAS)                                                                                    \
    DT_INDEPENDENT for (size_t j = 0; j < n; j++) {                                                                       \
        const float i = dt_sigmoid(g[j] + BIAS(j)), f = dt_sigmoid(g[n + j] + BIAS(n + j));                \
        const float a = dt_tanh(g[2 * n + j] + BIAS(2 * n + j)), o = dt_sigmoid(g[3 * n + j] + BIAS(3 * n + j)); \
        const float cell = f * from[j] + i * a;                                                            \
        g[j] = i, g[n + j] = f, g[2 * n + j] = a, g[3 * n + j] = o;                                        \
        to[j] = cell;                                                                                      \
        out[j] = o * dt_tanh(cell);                                                                        \
    }
#define BOTH(k) (x[k] + y[k])
#define NONE(k) 0
        if (x) { LSTM_STEP(BOTH) } else { LSTM_STEP(NONE) }
    }
}

DT_DISPATCH
void dt_lstm_backward(dt_recurrent_step step, float *gates, const float *c_before, const float *c, const float *dy,
                      const float *dh, float *dc, float *bias_sums) {
    const size_t n = step.hidden;
    for (size_t row = 0; row < step.rows; row++) {
        float *restrict g = gates + row * step.gate_stride, *restrict d_cell = dc + row * n;
        float *restrict sums = bias_sums;
        const float *restrict before = c_before + row * n, *restrict cell = c + row * n, *restrict back = dh + row * n;
        const float *restrict direct = dy ? dy + row * n : back;
        const float share = dy ? 1 : 0;
        DT_INDEPENDENT
        for (size_t j = 0; j < n; j++) {
            const float i = g[j], f = g[n + j], a = g[2 * n + j], o = g[3 * n + j], t = dt_tanh(cell[j]);
            const float dout = back[j] + share * direct[j];
            const float d = d_cell[j] + dout * o * (1 - t * t);
            const float di = d * a * i * (1 - i), df = d * before[j] * f * (1 - f);
            const float da = d * i * (1 - a * a), d_o = dout * t * o * (1 - o);
            g[j] = di, g[n + j] = df, g[2 * n + j] = da, g[3 * n + j] = d_o;
            d_cell[j] = d * f;
            sums[j] += di, sums[n + j] += df, sums[2 * n + j] += da, sums[3 * n + j] += d_o;
        }
    }
}

DT_DISPATCH
void dt_gru_forward(dt_recurrent_step step, float *gates, const float *h_before, float *h) {
    const size_t n = step.hidden;
    const float *x = step.input_bias, *y = step.hidden_bias;
    for (size_t row = 0; row < step.rows; row++) {
        float *restrict g = gates + row * step.gate_stride, *restrict out = h + row * n;
        const float *restrict before = h_before + row * n;
        DT_INDEPENDENT
        for (size_t j = 0; j < n; j++) {
            const float r = dt_sigmoid(g[n + j] + (x ? x[j] + y[j] : 0));
            const float z = dt_sigmoid(g[2 * n + j] + (x ? x[n + j] + y[n + j] : 0));
            const float m = g[3 * n + j] + (y ? y[2 * n + j] : 0);
            const float a = dt_tanh(g[j] + (x ? x[2 * n + j] : 0) + r * m);
            g[j] = a, g[n + j] = r, g[2 * n + j] = z, g[3 * n + j] = m;
            out[j] = a + z * (before[j] - a);
        }
    }
}

DT_DISPATCH
void dt_gru_backward(dt_recurrent_step step, float *gates, const float *h_before, const float *dy,
                     float *dh, float *bias_sums) {
    const size_t n = step.hidden;
    for (size_t row = 0; row < step.rows; row++) {
        float *restrict g = gates + row * step.gate_stride, *restrict back = dh + row * n, *restrict sums = bias_sums;
        const float *restrict before = h_before + row * n;
        const float *restrict direct = dy ? dy + row * n : back;
        const float share = dy ? 1 : 0;
        DT_INDEPENDENT
        for (size_t j = 0; j < n; j++) {
            const float a = g[j], r = g[n + j], z = g[2 * n + j], m = g[3 * n + j];
            const float d = back[j] + share * direct[j];
            const float da = d * (1 - z) * (1 - a * a), dz = d * (before[j] - a) * z * (1 - z);
            const float dr = da * m * r * (1 - r), dm = da * r;
            g[j] = da, g[n + j] = dr, g[2 * n + j] = dz, g[3 * n + j] = dm;
            back[j] = d * z;
            sums[j] += da, sums[n + j] += dr, sums[2 * n + j] += dz, sums[3 * n + j] += dm;
        }
    }
}
