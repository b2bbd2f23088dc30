#pragma once
// Update rules and gradient reductions over runs of the flat fp32 arena. Each is one pass over memory.
//
// Floating-point contraction is off in all of them: an element's result does not depend on where a run starts or ends,
// nor on which instruction set the processor offers.
#include <stdbool.h>
#include <stddef.h>

/// SGD without momentum: g = gradient_scale·gradient + weight_decay·p; p -= rate·g.
void dt_sgd_update(
    size_t count, float *parameters, const float *gradients, float rate, float weight_decay, float gradient_scale);

/// SGD with momentum: g as above; b = momentum·b + g; p -= rate·b, or with Nesterov p -= rate·(g + momentum·b).
void dt_sgd_momentum_update(
    size_t count, float *parameters, const float *gradients, float *momentum_buffer, float rate, float momentum,
    bool nesterov, float weight_decay, float gradient_scale);

/// The scalars of one Adam step; those that depend on the step are computed in double by the caller.
typedef struct {
    float gradient_scale;
    float coupled_decay;          // added to the gradient as coupled_decay·p (Adam; 0 for AdamW)
    float parameter_factor;       // p is multiplied by it first: 1 − rate·weight decay (AdamW; 1 for Adam)
    float first_weight;           // 1 − beta1
    float beta2, second_weight;   // second_weight = 1 − beta2
    float step_size;              // rate / (1 − beta1^t)
    float second_correction;      // sqrt(1 − beta2^t)
    float epsilon;
} dt_adam_scalars;

/// Adam and AdamW: m += first_weight·(g − m); v = beta2·v + second_weight·g²;
/// p -= step_size·m / (sqrt(v) / second_correction + epsilon).
void dt_adam_update(
    size_t count, float *parameters, const float *gradients, float *exp_avg, float *exp_avg_sq,
    const dt_adam_scalars *scalars);

/// The scalars of one RMSprop step.
typedef struct {
    float gradient_scale, weight_decay, rate;
    float alpha, new_weight;   // new_weight = 1 − alpha
    float momentum, epsilon;
} dt_rmsprop_scalars;

/// RMSprop: g as in SGD; s = alpha·s + new_weight·g²; with `grad_avg` a += new_weight·(g − a), and s − a² (at least 0)
/// stands for s below; d = g / (sqrt(s) + epsilon); with `momentum_buffer` b = momentum·b + d, p -= rate·b, otherwise
/// p -= rate·d. `grad_avg` and `momentum_buffer` may be null.
void dt_rmsprop_update(
    size_t count, float *parameters, const float *gradients, float *square_avg, float *grad_avg, float *momentum_buffer,
    const dt_rmsprop_scalars *scalars);

/// Adagrad: g as in SGD; s += g²; p -= rate·g / (sqrt(s) + epsilon).
void dt_adagrad_update(
    size_t count, float *parameters, const float *gradients, float *sum, float rate, float weight_decay,
    float gradient_scale, float epsilon);

/// An exponential moving average: average += weight·(values − average).
void dt_average_update(size_t count, float *average, const float *values, float weight);

/// What LAMB's trust ratio needs, without updating anything: sums[0] = Σp², sums[1] = Σr² with
/// r = step_size·m / (sqrt(v) / second_correction + epsilon) + weight_decay·p, where m and v are those of the coming
/// `dt_adam_update` with the same scalars and parameter_factor 1. The order of the additions is fixed by `count` alone.
void dt_lamb_square_sums(
    size_t count, const float *parameters, const float *gradients, const float *exp_avg, const float *exp_avg_sq,
    float weight_decay, const dt_adam_scalars *scalars, double *sums);

/// The sum of squares in double. The order of the additions is fixed by `count` alone.
double dt_square_sum(size_t count, const float *values);

/// Whether no value is infinite or not a number.
bool dt_all_finite(size_t count, const float *values);
