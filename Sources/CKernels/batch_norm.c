#include "batch_norm.h"
#include "element.h"

// fp32 sums run over this many pixels before they go into doubles: enough to keep doubles out of the way, few enough to
// keep the rounding of fp32 below that of the data. A gradient's row is taken in chunks of channels.
enum { LANES = 16, BLOCK = 128, CHUNK = 64 };

/// What decides whether a gradient passes ReLU: a constant in each copy of the loops.
typedef enum { PASS_ALL, PASS_BY_OUTPUT, PASS_BY_INPUT } pass_rule;

DT_INLINE pass_rule rule_of(const dt_batch_norm_mask *mask) {
    return mask->y ? PASS_BY_OUTPUT : mask->scale ? PASS_BY_INPUT : PASS_ALL;
}

#define ELEMENT float
#define NAME(x) x##_of_floats
#include "batch_norm_rows.h"
#undef ELEMENT
#undef NAME

#define ELEMENT uint16_t
#define NAME(x) x##_of_bf16
#include "batch_norm_rows.h"
#undef ELEMENT
#undef NAME

#define BY_KIND(elements, function, ...)                      \
    if ((elements).is_bf16) function##_of_bf16(__VA_ARGS__);  \
    else function##_of_floats(__VA_ARGS__)

#define BY_RULE(elements, mask, function, ...)                                                      \
    switch (rule_of(&mask)) {                                                                       \
    case PASS_ALL: BY_KIND(elements, function, PASS_ALL, __VA_ARGS__); break;                       \
    case PASS_BY_OUTPUT: BY_KIND(elements, function, PASS_BY_OUTPUT, __VA_ARGS__); break;           \
    case PASS_BY_INPUT: BY_KIND(elements, function, PASS_BY_INPUT, __VA_ARGS__); break;             \
    }

DT_DISPATCH
void dt_batch_norm_sums(dt_elements x, size_t pixels, size_t channels, const float *shift, double *sum,
                        double *square) {
    BY_KIND(x, sums, x.start, pixels, channels, shift, sum, square);
}

DT_DISPATCH
void dt_batch_norm_apply(dt_elements x, size_t pixels, size_t channels, const float *scale, const float *shift,
                         dt_elements residual, int relu, dt_elements y, size_t y_stride) {
    if (relu) { BY_KIND(x, apply, x.start, pixels, channels, scale, shift, residual.start, 1, y.start, y_stride); }
    else { BY_KIND(x, apply, x.start, pixels, channels, scale, shift, residual.start, 0, y.start, y_stride); }
}

DT_DISPATCH
void dt_batch_norm_backward_sums(dt_elements dy, size_t dy_stride, dt_batch_norm_mask mask, dt_elements x, size_t pixels,
                                 size_t channels, const float *mean, double *sum, double *product) {
    BY_RULE(dy, mask, backward_sums, dy.start, dy_stride, &mask, x.start, pixels, channels, mean, sum, product)
}

DT_DISPATCH
void dt_batch_norm_backward(dt_elements dy, size_t dy_stride, dt_batch_norm_mask mask, dt_elements x, size_t pixels,
                            size_t channels, dt_batch_norm_gradient gradient, dt_elements dx, int accumulate,
                            dt_elements residual, int accumulate_residual) {
    BY_RULE(dy, mask, backward, dy.start, dy_stride, &mask, x.start, pixels, channels, gradient, dx.start, accumulate,
            residual.start, accumulate_residual)
}
