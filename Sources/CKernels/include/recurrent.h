#pragma once
#include <stddef.h>

// The fused part of a recurrent step: everything that follows the matrix products. A row is one sequence; rows of states
// and of their gradients lie `hidden` floats apart, rows of gates `gate_stride`. Gates have PyTorch's order, but for the
// GRU, whose row is n | r | z | m (m: the hidden side of n), so that the input side (n r z) and the hidden side (r z m)
// are contiguous.

/// One step of a layer: its rows, its width, floats from one row of gates to the next, its biases (null for none).
typedef struct {
    size_t rows, hidden, gate_stride;
    const float *input_bias, *hidden_bias;
} dt_recurrent_step;

/// Elman's cell: h = tanh(gates + biases), or with `relu` not 0 max(0, ·).
void dt_rnn_forward(dt_recurrent_step step, const float *gates, float *h, int relu);
/// gates = (dy + dh) · f'(h); `dy` may be null. `bias_sums` += the sum over the rows.
void dt_rnn_backward(dt_recurrent_step step, float *gates, const float *h, const float *dy, const float *dh,
                     float *bias_sums, int relu);

/// LSTM (Hochreiter and Schmidhuber 1997, with Gers's forget gate): gates i f g o become σ σ tanh σ of themselves,
/// c = f · c_before + i · g, h = o · tanh c.
void dt_lstm_forward(dt_recurrent_step step, float *gates, const float *c_before, float *c, float *h);
/// gates become their gradients; dc becomes the gradient of c_before. `dh` is what comes back from the next step.
void dt_lstm_backward(dt_recurrent_step step, float *gates, const float *c_before, const float *c, const float *dy,
                      const float *dh, float *dc, float *bias_sums);

/// GRU (Cho et al. 2014, PyTorch's form): r = σ, z = σ, n = tanh(n + r · m), h = (1 − z) · n + z · h_before.
void dt_gru_forward(dt_recurrent_step step, float *gates, const float *h_before, float *h);
/// gates become their gradients; dh becomes the part of the gradient of h_before that does not pass the gates.
void dt_gru_backward(dt_recurrent_step step, float *gates, const float *h_before, const float *dy,
                     float *dh, float *bias_sums);
