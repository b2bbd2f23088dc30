#pragma once
#include <stddef.h>

/// Local response normalisation over neighbouring channels (Krizhevsky et al. 2012):
/// y[c] = x[c] / d[c]^beta with d[c] = k + alpha / size · Σ x[c']² over c − size/2 ≤ c' ≤ c + (size − 1)/2.
typedef struct {
    size_t channels, size;
    float alpha, beta, k;
} dt_local_response;

/// Floats of scratch memory that both ways need.
size_t dt_local_response_scratch(dt_local_response norm);

/// Output pixels are `y_stride` floats apart.
void dt_local_response_norm_forward(const float *x, size_t pixels, dt_local_response norm, float *y, size_t y_stride,
                                    float *scratch);

/// dx[c] (+)= dy[c] d[c]^−beta − 2 beta alpha / size · x[c] · Σ dy[c'] x[c'] d[c']^(−beta − 1) over the channels c' whose
/// window holds c. d is computed again.
void dt_local_response_norm_backward(const float *x, const float *dy, size_t dy_stride, size_t pixels,
                                     dt_local_response norm, float *dx, int accumulate, float *scratch);
