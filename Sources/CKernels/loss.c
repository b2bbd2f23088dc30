#include "loss.h"
#include "dispatch.h"

DT_DISPATCH
void dt_cross_entropy_forward(const float *logits, const int32_t *labels, size_t rows, size_t classes,
                              float smoothing, float *loss, dt_softmax_sum *sums) {
    for (size_t row = 0; row < rows; row++, logits += classes) {
        float largest = logits[0];
        for (size_t c = 1; c < classes; c++) largest = logits[c] > largest ? logits[c] : largest;
        double sum = 0, below = 0;
        for (size_t c = 0; c < classes; c++) {
            const float x = logits[c] - largest;
            sum += dt_exp(x);
            below += x;
        }
        const float log_sum = logf((float)sum);
        sums[row] = (dt_softmax_sum){largest, log_sum};
        loss[row] = log_sum - (1 - smoothing) * (logits[labels[row]] - largest);
        if (smoothing > 0) loss[row] -= smoothing * (float)(below / (double)classes);
    }
}

DT_DISPATCH
void dt_cross_entropy_backward(const float *logits, const int32_t *labels, const dt_softmax_sum *sums, size_t rows,
                               size_t classes, float smoothing, float *gradient, int accumulate) {
    const float background = smoothing / (float)classes;
    for (size_t row = 0; row < rows; row++, logits += classes, gradient += classes) {
        const float largest = sums[row].largest, log_sum = sums[row].log_sum;
        if (accumulate)
            for (size_t c = 0; c < classes; c++) gradient[c] += dt_exp(logits[c] - largest - log_sum) - background;
        else
            for (size_t c = 0; c < classes; c++) gradient[c] = dt_exp(logits[c] - largest - log_sum) - background;
        gradient[labels[row]] -= 1 - smoothing;
    }
}

DT_DISPATCH
void dt_squared_error_forward(const float *x, const float *target, size_t rows, size_t count, float *loss) {
    for (size_t row = 0; row < rows; row++, x += count, target += count) {
        double sum = 0;
        for (size_t i = 0; i < count; i++) sum += (double)(x[i] - target[i]) * (double)(x[i] - target[i]);
        loss[row] = (float)sum;
    }
}

DT_DISPATCH
void dt_squared_error_backward(const float *x, const float *target, size_t count, float *gradient, int accumulate) {
    if (accumulate)
        for (size_t i = 0; i < count; i++) gradient[i] += 2 * (x[i] - target[i]);
    else
        for (size_t i = 0; i < count; i++) gradient[i] = 2 * (x[i] - target[i]);
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
