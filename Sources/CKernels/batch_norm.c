#include "batch_norm.h"
#include "element.h"

// Pixels are gone through in the order in which they lie, some at a time, and fp32 sums of a chunk of channels stay in the
// first-level cache. They run over a block of pixels before they go into doubles: enough to keep doubles out of the way, few
// enough to keep the rounding of fp32 below that of the data.
enum { LANES = VECTOR_LENGTH, BLOCK = 128, CHUNK = 512, ROWS = 4, AHEAD = 1024 };

/// Calls `function`, whose last argument is a number of lanes, for each vector of the channels from 0 to `count`, as `c`.
#define FOR_EACH_VECTOR(count, function, ...)                                                           \
    do {                                                                                                \
        size_t c = 0;                                                                                   \
        for (; c + LANES <= (count); c += LANES) function(__VA_ARGS__, LANES);                          \
        if (c < (count)) function(__VA_ARGS__, (count) - c);                                            \
    } while (0)

/// Pixels, of about AHEAD elements, that are gone through while one comes from memory.
DT_INLINE size_t pixels_ahead(size_t channels) { return 1 + AHEAD / channels; }

/// Fetches a cache line of a pixel: slices of wide pixels lie too far apart for the processor to foresee them.
DT_INLINE void fetch(const int is_bf16, const dt_pixels *x, size_t pixel, size_t channel) {
    __builtin_prefetch((const char *)x->elements.start + (pixel * x->stride + channel) * (is_bf16 ? 2 : 4));
}

/// Clears the sums of so many channels, whole vectors.
DT_INLINE void clear(float *sums, size_t count) {
    for (size_t c = 0; c < count; c += LANES) store_floats(&(vector){0}, sums + c);
}

DT_INLINE void add_to_doubles(const float *sums, size_t count, double *totals) {
    for (size_t c = 0; c < count; c++) totals[c] += sums[c];
}

// MARK: Normalisation

DT_INLINE void apply_vector(const int is_bf16, const int relu, const dt_pixels *x, const dt_pixels *y, size_t pixel,
                            size_t channel, const float *scale, const float *shift, const void *residual, size_t at,
                            size_t ahead, size_t lanes) {
    vector value, factor, summand;
    load(x->elements.start, (ptrdiff_t)(pixel * x->stride + channel), is_bf16, lanes, &value);
    fetch(is_bf16, x, pixel + ahead, channel);
    load(scale, (ptrdiff_t)channel, 0, lanes, &factor);
    load(shift, (ptrdiff_t)channel, 0, lanes, &summand);
    value = value * factor + summand;
    if (residual) {
        load(residual, (ptrdiff_t)at, is_bf16, lanes, &summand);
        value += summand;
    }
    if (relu) value = (vector)((vector_mask)value & ~(value < 0));     // NaN stays NaN
    store(&value, y->elements.start, pixel * y->stride + channel, is_bf16, lanes, 0);
}

DT_INLINE void apply(const int is_bf16, const int relu, const dt_pixels *x, size_t pixels, size_t channels,
                     const float *scale, const float *shift, const void *residual, const dt_pixels *y) {
    const size_t ahead = pixels_ahead(channels);
    for (size_t p = 0; p < pixels; p++)
        FOR_EACH_VECTOR(channels, apply_vector, is_bf16, relu, x, y, p, c, scale, shift, residual, p * channels + c, ahead);
}

// MARK: Sums

/// What dz is: the output's gradient, all of it or where ReLU let the value pass; or, on the way forward, x − centre. A constant
/// in each copy of the loops.
typedef enum { PASS_ALL, PASS_BY_OUTPUT, PASS_BY_INPUT, CENTRED_INPUT } pass_rule;

/// What sums and the way back read.
typedef struct {
    dt_pixels dy, x;
    size_t channels, ahead;
    dt_batch_norm_mask mask;
} sources;

/// Of `lanes` channels from `c` on of a pixel: dz, and x where it is asked for.
DT_INLINE void pass(const int is_bf16, const pass_rule rule, const int reads_x, const sources *from, size_t pixel, size_t c,
                    size_t lanes, vector *dz, vector *x) {
    vector g, output, scale, shift;
    load(from->dy.elements.start, (ptrdiff_t)(pixel * from->dy.stride + c), is_bf16, lanes, &g);
    if (reads_x) fetch(is_bf16, &from->x, pixel + from->ahead, c);
    if (reads_x || rule == PASS_BY_INPUT)
        load(from->x.elements.start, (ptrdiff_t)(pixel * from->x.stride + c), is_bf16, lanes, x);
    if (rule == PASS_BY_OUTPUT)
        load(from->mask.y, (ptrdiff_t)(pixel * from->mask.y_stride + c), is_bf16, lanes, &output);
    if (rule == PASS_BY_INPUT) {
        load(from->mask.scale, (ptrdiff_t)c, 0, lanes, &scale);
        load(from->mask.shift, (ptrdiff_t)c, 0, lanes, &shift);
        output = *x * scale + shift;
    }
    *dz = rule == PASS_ALL ? g : (vector)((vector_mask)g & (output > 0));
}

/// Adds Σ dz and Σ dz (x − centre) of `rows` pixels to the sums of `lanes` channels.
DT_INLINE void add_rows(const int is_bf16, const pass_rule rule, const size_t rows, const sources *from, size_t pixel,
                        size_t channel, const float *centre, float *sum, float *product, size_t lanes) {
    vector s, q, k, dz, x;
    load_floats(sum, &s);
    load_floats(product, &q);
    load(centre, 0, 0, lanes, &k);
    for (size_t r = 0; r < rows; r++) {
        if (rule == CENTRED_INPUT) {
            load(from->x.elements.start, (ptrdiff_t)((pixel + r) * from->x.stride + channel), is_bf16, lanes, &x);
            dz = x - k;
        } else
            pass(is_bf16, rule, 1, from, pixel + r, channel, lanes, &dz, &x);
        s += dz;
        q += dz * (x - k);
    }
    store_floats(&s, sum);
    store_floats(&q, product);
}

DT_INLINE void sums(const int is_bf16, const pass_rule rule, const sources *from, size_t pixels, const float *centre,
                    double *sum, double *product) {
    for (size_t start = 0; start < pixels; start += BLOCK)
        for (size_t first = 0; first < from->channels; first += CHUNK) {
            const size_t end = smaller(start + BLOCK, pixels), count = smaller(CHUNK, from->channels - first);
            float s[CHUNK], q[CHUNK];
            clear(s, count);
            clear(q, count);
#define ROWS_AT(rows) \
    FOR_EACH_VECTOR(count, add_rows, is_bf16, rule, rows, from, p, first + c, centre + first + c, s + c, q + c)
            size_t p = start;
            for (; p + ROWS <= end; p += ROWS) ROWS_AT(ROWS);
            for (; p < end; p++) ROWS_AT(1);
#undef ROWS_AT
            add_to_doubles(s, count, sum + first);
            add_to_doubles(q, count, product + first);
        }
}

// MARK: Backward

/// dx and the residual's gradient of `lanes` channels of a pixel: read before they are written, so that dx may be dy.
DT_INLINE void backward_vector(const int is_bf16, const pass_rule rule, const int is_measured, const sources *from,
                               size_t pixel, size_t channel, dt_batch_norm_gradient gradient, const dt_pixels *dx,
                               int accumulate, void *residual, int accumulate_residual, size_t lanes) {
    const ptrdiff_t c = (ptrdiff_t)channel;
    vector dz, x;
    pass(is_bf16, rule, is_measured, from, pixel, channel, lanes, &dz, &x);
    if (dx->elements.start) {
        if (accumulate) fetch(is_bf16, dx, pixel + from->ahead, channel);
        vector result = dz, scale;
        load(gradient.scale, c, 0, lanes, &scale);
        if (is_measured) {
            vector offset, mean, slope;
            load(gradient.offset, c, 0, lanes, &offset);
            load(gradient.mean, c, 0, lanes, &mean);
            load(gradient.slope, c, 0, lanes, &slope);
            result = dz - offset - (x - mean) * slope;
        }
        result *= scale;
        store(&result, dx->elements.start, pixel * dx->stride + channel, is_bf16, lanes, accumulate);
    }
    // Last, because the residual may be x itself: its gradient then adds to the one just written.
    if (residual) store(&dz, residual, pixel * from->channels + channel, is_bf16, lanes, accumulate_residual);
}

DT_INLINE void backward(const int is_bf16, const pass_rule rule, const sources *from, size_t pixels,
                        dt_batch_norm_gradient gradient, const dt_pixels *dx, int accumulate, void *residual,
                        int accumulate_residual) {
#define PIXELS(is_measured)                                                                                            \
    for (size_t p = 0; p < pixels; p++)                                                                                \
        FOR_EACH_VECTOR(from->channels, backward_vector, is_bf16, rule, is_measured, from, p, c, gradient, dx,         \
                        accumulate, residual, accumulate_residual)
    // Where the residual alone is asked for, x need not be read.
    if (gradient.slope && dx->elements.start) PIXELS(1);
    else PIXELS(0);
#undef PIXELS
}

// MARK: Interface

#define BY_KIND(elements, function, ...)                 \
    if ((elements).is_bf16) function(1, __VA_ARGS__);    \
    else function(0, __VA_ARGS__)

#define BY_RULE(elements, function, ...)                                                                \
    if ((elements).is_bf16) BY_MASK(function, 1, __VA_ARGS__)                                           \
    else BY_MASK(function, 0, __VA_ARGS__)
#define BY_MASK(function, is_bf16, ...)                                                                 \
    {                                                                                                   \
        if (mask.y) function(is_bf16, PASS_BY_OUTPUT, __VA_ARGS__);                                     \
        else if (mask.scale) function(is_bf16, PASS_BY_INPUT, __VA_ARGS__);                             \
        else function(is_bf16, PASS_ALL, __VA_ARGS__);                                                  \
    }

DT_DISPATCH
void dt_batch_norm_sums(dt_pixels x, size_t pixels, size_t channels, const float *shift, double *sum,
                        double *square) {
    const sources from = {.x = x, .channels = channels};
    BY_KIND(x.elements, sums, CENTRED_INPUT, &from, pixels, shift, sum, square);
}

DT_DISPATCH
void dt_batch_norm_apply(dt_pixels x, size_t pixels, size_t channels, const float *scale, const float *shift,
                         dt_elements residual, int relu, dt_pixels y) {
    if (relu) { BY_KIND(x.elements, apply, 1, &x, pixels, channels, scale, shift, residual.start, &y); }
    else { BY_KIND(x.elements, apply, 0, &x, pixels, channels, scale, shift, residual.start, &y); }
}

DT_DISPATCH
void dt_batch_norm_backward_sums(dt_pixels dy, dt_batch_norm_mask mask, dt_pixels x, size_t pixels, size_t channels,
                                 const float *mean, double *sum, double *product) {
    const sources from = {dy, x, channels, pixels_ahead(channels), mask};
    BY_RULE(dy.elements, sums, &from, pixels, mean, sum, product)
}

DT_DISPATCH
void dt_batch_norm_backward(dt_pixels dy, dt_batch_norm_mask mask, dt_pixels x, size_t pixels, size_t channels,
                            dt_batch_norm_gradient gradient, dt_pixels dx, int accumulate, dt_elements residual,
                            int accumulate_residual) {
    const sources from = {dy, x, channels, pixels_ahead(channels), mask};
    BY_RULE(dy.elements, backward, &from, pixels, gradient, &dx, accumulate, residual.start, accumulate_residual)
}
