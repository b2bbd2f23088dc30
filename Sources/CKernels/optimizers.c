#include "optimizers.h"
#include "dispatch.h"

#pragma clang fp contract(off)

DT_DISPATCH
void dt_sgd_update(
    size_t count, float *restrict parameters, const float *restrict gradients, float rate, float weight_decay,
    float gradient_scale
) {
    for (size_t i = 0; i < count; i++) {
        float g = gradients[i] * gradient_scale + weight_decay * parameters[i];
        parameters[i] -= rate * g;
    }
}

DT_DISPATCH
void dt_sgd_momentum_update(
    size_t count, float *restrict parameters, const float *restrict gradients, float *restrict momentum_buffer,
    float rate, float momentum, bool nesterov, float weight_decay, float gradient_scale
) {
    if (nesterov) {
        for (size_t i = 0; i < count; i++) {
            float g = gradients[i] * gradient_scale + weight_decay * parameters[i];
            float b = momentum * momentum_buffer[i] + g;
            momentum_buffer[i] = b;
            parameters[i] -= rate * (g + momentum * b);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            float g = gradients[i] * gradient_scale + weight_decay * parameters[i];
            float b = momentum * momentum_buffer[i] + g;
            momentum_buffer[i] = b;
            parameters[i] -= rate * b;
        }
    }
}

DT_DISPATCH
void dt_adam_update(
    size_t count, float *restrict parameters, const float *restrict gradients, float *restrict exp_avg,
    float *restrict exp_avg_sq, const dt_adam_scalars *restrict scalars
) {
    const dt_adam_scalars s = *scalars;
    for (size_t i = 0; i < count; i++) {
        float p = parameters[i] * s.parameter_factor;
        float g = gradients[i] * s.gradient_scale + s.coupled_decay * p;
        float m = exp_avg[i] + s.first_weight * (g - exp_avg[i]);
        float v = s.beta2 * exp_avg_sq[i] + s.second_weight * g * g;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        // The elementwise built-in is the bare instruction; sqrtf would set errno and keep the loop from vectorising.
        float denominator = __builtin_elementwise_sqrt(v) / s.second_correction + s.epsilon;
        parameters[i] = p - s.step_size * m / denominator;
    }
}

// Sixteen running sums, whatever the width of the registers, so that every processor adds in the same order.
enum { DT_SUMS = 16 };

DT_DISPATCH
double dt_square_sum(size_t count, const float *restrict values) {
    double sums[DT_SUMS] = {0};
    size_t whole = count / DT_SUMS * DT_SUMS;
    for (size_t i = 0; i < whole; i += DT_SUMS) {
        for (size_t k = 0; k < DT_SUMS; k++) {
            double value = values[i + k];
            sums[k] += value * value;
        }
    }
    for (size_t i = whole; i < count; i++) {
        double value = values[i];
        sums[i - whole] += value * value;
    }
    for (size_t width = DT_SUMS / 2; width > 0; width /= 2) {
        for (size_t k = 0; k < width; k++) sums[k] += sums[k + width];
    }
    return sums[0];
}

DT_DISPATCH
bool dt_all_finite(size_t count, const float *restrict values) {
    const uint32_t exponent = 0x7f800000;   // all its bits are set in infinities and NaNs, and in nothing else
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        found |= (bits & exponent) == exponent;
    }
    return found == 0;
}
