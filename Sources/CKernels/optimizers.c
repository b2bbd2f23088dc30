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

// The moments after gradient g. The elementwise built-in is the bare instruction; sqrtf would set errno and keep the loop
// from vectorising.
DT_INLINE float dt_first_moment(float m, float g, const dt_adam_scalars s) { return m + s.first_weight * (g - m); }
DT_INLINE float dt_second_moment(float v, float g, const dt_adam_scalars s) {
    return s.beta2 * v + s.second_weight * g * g;
}
DT_INLINE float dt_adam_direction(float m, float v, const dt_adam_scalars s) {
    return s.step_size * m / (__builtin_elementwise_sqrt(v) / s.second_correction + s.epsilon);
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
        float m = dt_first_moment(exp_avg[i], g, s);
        float v = dt_second_moment(exp_avg_sq[i], g, s);
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        parameters[i] = p - dt_adam_direction(m, v, s);
    }
}

// The caller passes constants for the two choices, so that each loop is free of branches.
DT_INLINE void dt_rmsprop_loop(
    size_t count, float *restrict parameters, const float *restrict gradients, float *restrict square_avg,
    float *restrict grad_avg, float *restrict momentum_buffer, const dt_rmsprop_scalars s, bool centered,
    bool has_momentum
) {
    for (size_t i = 0; i < count; i++) {
        float g = gradients[i] * s.gradient_scale + s.weight_decay * parameters[i];
        float square = s.alpha * square_avg[i] + s.new_weight * g * g;
        square_avg[i] = square;
        if (centered) {
            float average = grad_avg[i] + s.new_weight * (g - grad_avg[i]);
            grad_avg[i] = average;
            // A variance; rounding may leave it below 0, of which the root would be no number.
            float variance = square - average * average;
            square = variance > 0.0f ? variance : 0.0f;
        }
        float direction = g / (__builtin_elementwise_sqrt(square) + s.epsilon);
        if (has_momentum) {
            direction = s.momentum * momentum_buffer[i] + direction;
            momentum_buffer[i] = direction;
        }
        parameters[i] -= s.rate * direction;
    }
}

DT_DISPATCH
void dt_rmsprop_update(
    size_t count, float *restrict parameters, const float *restrict gradients, float *restrict square_avg,
    float *restrict grad_avg, float *restrict momentum_buffer, const dt_rmsprop_scalars *restrict scalars
) {
    float *p = parameters, *s = square_avg, *a = grad_avg, *b = momentum_buffer;
    const float *g = gradients;
    if (a && b) dt_rmsprop_loop(count, p, g, s, a, b, *scalars, true, true);
    else if (a) dt_rmsprop_loop(count, p, g, s, a, b, *scalars, true, false);
    else if (b) dt_rmsprop_loop(count, p, g, s, a, b, *scalars, false, true);
    else dt_rmsprop_loop(count, p, g, s, a, b, *scalars, false, false);
}

DT_DISPATCH
void dt_adagrad_update(
    size_t count, float *restrict parameters, const float *restrict gradients, float *restrict sum, float rate,
    float weight_decay, float gradient_scale, float epsilon
) {
    for (size_t i = 0; i < count; i++) {
        float g = gradients[i] * gradient_scale + weight_decay * parameters[i];
        float s = sum[i] + g * g;
        sum[i] = s;
        parameters[i] -= rate * g / (__builtin_elementwise_sqrt(s) + epsilon);
    }
}

DT_DISPATCH
void dt_average_update(size_t count, float *restrict average, const float *restrict values, float weight) {
    for (size_t i = 0; i < count; i++) average[i] += weight * (values[i] - average[i]);
}

// Sixteen running sums, whatever the width of the registers, so that every processor adds in the same order.
enum { DT_SUMS = 16 };

DT_INLINE double dt_total(double *sums) {
    for (size_t width = DT_SUMS / 2; width > 0; width /= 2) {
        for (size_t k = 0; k < width; k++) sums[k] += sums[k + width];
    }
    return sums[0];
}

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
    return dt_total(sums);
}

DT_DISPATCH
void dt_lamb_square_sums(
    size_t count, const float *restrict parameters, const float *restrict gradients, const float *restrict exp_avg,
    const float *restrict exp_avg_sq, float weight_decay, const dt_adam_scalars *restrict scalars, double *restrict sums
) {
    const dt_adam_scalars s = *scalars;
    double parameter_sums[DT_SUMS] = {0}, direction_sums[DT_SUMS] = {0};
    for (size_t i = 0; i < count; i += DT_SUMS) {
        size_t width = smaller(count - i, DT_SUMS);
        for (size_t k = 0; k < width; k++) {
            float p = parameters[i + k], g = gradients[i + k] * s.gradient_scale;
            float m = dt_first_moment(exp_avg[i + k], g, s);
            float v = dt_second_moment(exp_avg_sq[i + k], g, s);
            double direction = dt_adam_direction(m, v, s) + weight_decay * p;
            direction_sums[k] += direction * direction;
            parameter_sums[k] += (double)p * (double)p;
        }
    }
    sums[0] = dt_total(parameter_sums);
    sums[1] = dt_total(direction_sums);
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
