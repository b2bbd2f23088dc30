#include "loss.h"
#include "dispatch.h"

/// The weight of a row's own label.
DT_INLINE float own_share(dt_targets targets, size_t row) { return targets.partners ? targets.weights[row] : 1; }

DT_DISPATCH
void dt_cross_entropy_forward(const float *logits, dt_targets targets, size_t rows, size_t classes, float smoothing,
                              float weight, float *loss, dt_softmax_sum *sums) {
    for (size_t row = 0; row < rows; row++, logits += classes) {
        float largest = logits[0], sum = 0, below = 0;
        for (size_t c = 1; c < classes; c++) largest = logits[c] > largest ? logits[c] : largest;
        for (size_t c = 0; c < classes; c++) {
#pragma clang fp reassociate(on)
            const float x = logits[c] - largest;
            sum += dt_exp(x);
            below += x;
        }
        const float log_sum = logf(sum);
        sums[row] = (dt_softmax_sum){largest, log_sum};
        const float share = own_share(targets, row);
        float target = share * (logits[targets.labels[row]] - largest);
        if (targets.partners) target += (1 - share) * (logits[targets.partners[row]] - largest);
        float value = log_sum - (1 - smoothing) * target;
        if (smoothing > 0) value -= smoothing * (below / (float)classes);
        loss[row] = weight * value;
    }
}

DT_DISPATCH
void dt_cross_entropy_backward(const float *logits, dt_targets targets, const dt_softmax_sum *sums, size_t rows,
                               size_t classes, float smoothing, float weight, float *gradient, int accumulate) {
    const float background = smoothing / (float)classes;
    for (size_t row = 0; row < rows; row++, logits += classes, gradient += classes) {
        const float largest = sums[row].largest, log_sum = sums[row].log_sum;
        for (size_t c = 0; c < classes; c++) {
            const float g = weight * (dt_exp(logits[c] - largest - log_sum) - background);
            gradient[c] = accumulate ? gradient[c] + g : g;
        }
        const float share = own_share(targets, row);
        gradient[targets.labels[row]] -= weight * (1 - smoothing) * share;
        if (targets.partners) gradient[targets.partners[row]] -= weight * (1 - smoothing) * (1 - share);
    }
}

DT_DISPATCH
void dt_squared_error_forward(const float *x, const float *target, size_t rows, size_t count, float weight,
                              float *loss) {
    for (size_t row = 0; row < rows; row++, x += count, target += count) {
        double sum = 0;
        for (size_t i = 0; i < count; i++) sum += (double)(x[i] - target[i]) * (double)(x[i] - target[i]);
        loss[row] = weight * (float)sum;
    }
}

DT_DISPATCH
void dt_squared_error_backward(const float *x, const float *target, size_t count, float weight, float *gradient,
                               int accumulate) {
    for (size_t i = 0; i < count; i++)
        gradient[i] = 2 * weight * (x[i] - target[i]) + (accumulate ? gradient[i] : 0);
}

void dt_label_rank(const float *logits, const int32_t *labels, size_t rows, size_t classes, int32_t *rank) {
    for (size_t row = 0; row < rows; row++, logits += classes) {
        const size_t label = (size_t)labels[row];
        size_t before = 0;
        for (size_t c = 0; c < classes; c++)
            before += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
        for (size_t c = 0; c < classes; c++)
            if (logits[c] != logits[c]) before = classes;
        rank[row] = (int32_t)before;
    }
}

void dt_one_hot(dt_targets targets, size_t rows, size_t classes, float *y) {
    memset(y, 0, rows * classes * sizeof *y);
    for (size_t row = 0; row < rows; row++) {
        const float share = own_share(targets, row);
        y[row * classes + (size_t)targets.labels[row]] += share;
        if (targets.partners) y[row * classes + (size_t)targets.partners[row]] += 1 - share;
    }
}
