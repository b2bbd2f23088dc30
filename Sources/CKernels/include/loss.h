#pragma once
#include <stddef.h>
#include <stdint.h>

/// A row's largest logit and log Σ e^(x − largest): kept apart, because their sum would have few digits left where all
/// logits of a row are large.
typedef struct { float largest, log_sum; } dt_softmax_sum;

/// What each row is to be: its label, or, where `partners` is not null, its label with `weights` and its partner's label
/// with 1 − `weights`.
typedef struct {
    const int32_t *labels, *partners;
    const float *weights;
} dt_targets;

/// `weight` times the softmax cross-entropy of each row, with PyTorch's label smoothing: the target is (1 − smoothing)
/// at the label (shared with the partner's) plus smoothing / classes everywhere. `sums` is what the way back needs.
void dt_cross_entropy_forward(const float *logits, dt_targets targets, size_t rows, size_t classes, float smoothing,
                              float weight, float *loss, dt_softmax_sum *sums);

/// gradient (+)= weight · (softmax(logits) − target): the gradient of the SUM of the losses.
void dt_cross_entropy_backward(const float *logits, dt_targets targets, const dt_softmax_sum *sums, size_t rows,
                               size_t classes, float smoothing, float weight, float *gradient, int accumulate);

/// loss[row] = weight · Σ (x − target)² over the row's elements.
void dt_squared_error_forward(const float *x, const float *target, size_t rows, size_t count, float weight,
                              float *loss);

/// gradient (+)= 2 weight (x − target).
void dt_squared_error_backward(const float *x, const float *target, size_t count, float weight, float *gradient,
                               int accumulate);

/// For each row, how many classes come before the label when sorted by logit, ties in order of index: 0 is a correct
/// top-1, below 5 a correct top-5. A row with a NaN gives `classes`.
void dt_label_rank(const float *logits, const int32_t *labels, size_t rows, size_t classes, int32_t *rank);

/// y[row][c] = the weight of class c in the row's target: 1 where c is its label, unless samples are mixed.
void dt_one_hot(dt_targets targets, size_t rows, size_t classes, float *y);
