// Batch normalisation of rows of one kind of element: included by batch_norm.c with
//   ELEMENT  float, or uint16_t for bf16        NAME(x)  the names' suffix

/// Sums of one block over `vectors` × 16 channels, which stay in registers.
DT_INLINE void NAME(sum_block)(const ELEMENT *x, size_t pixels, size_t channels, const float *shift, size_t vectors,
                               double *sum, double *square) {
    vector s[2] = {{0}, {0}}, q[2] = {{0}, {0}}, k[2];
    for (size_t v = 0; v < vectors; v++) load_floats(shift + v * LANES, &k[v]);
    for (size_t p = 0; p < pixels; p++, x += channels)
        for (size_t v = 0; v < vectors; v++) {
            vector d;
            LOAD_VECTOR(x + v * LANES, &d);
            d -= k[v];
            s[v] += d;
            q[v] += d * d;
        }
    for (size_t v = 0; v < vectors; v++)
        for (size_t lane = 0; lane < LANES; lane++) {
            sum[v * LANES + lane] += s[v][lane];
            square[v * LANES + lane] += q[v][lane];
        }
}

DT_INLINE void NAME(sum_rest)(const ELEMENT *x, size_t pixels, size_t channels, const float *shift, size_t count,
                              double *sum, double *square) {
    float s[LANES] = {0}, q[LANES] = {0};
    for (size_t p = 0; p < pixels; p++, x += channels)
        for (size_t c = 0; c < count; c++) {
            const float d = VALUE(x[c]) - shift[c];
            s[c] += d;
            q[c] += d * d;
        }
    for (size_t c = 0; c < count; c++) {
        sum[c] += s[c];
        square[c] += q[c];
    }
}

DT_INLINE void NAME(sums)(const ELEMENT *x, size_t pixels, size_t channels, const float *shift, double *sum,
                          double *square) {
    for (size_t first = 0; first < pixels; first += BLOCK, x += BLOCK * channels) {
        const size_t count = pixels - first < BLOCK ? pixels - first : BLOCK;
        size_t c = 0;
        for (; c + 2 * LANES <= channels; c += 2 * LANES)
            NAME(sum_block)(x + c, count, channels, shift + c, 2, sum + c, square + c);
        for (; c + LANES <= channels; c += LANES)
            NAME(sum_block)(x + c, count, channels, shift + c, 1, sum + c, square + c);
        if (c < channels) NAME(sum_rest)(x + c, count, channels, shift + c, channels - c, sum + c, square + c);
    }
}

DT_INLINE void NAME(apply)(const ELEMENT *x, size_t pixels, size_t channels, const float *restrict scale,
                           const float *restrict shift, const ELEMENT *residual, const int relu, ELEMENT *y,
                           size_t y_stride) {
    for (size_t p = 0; p < pixels; p++, x += channels, y += y_stride) {
        if (residual) {
            for (size_t c = 0; c < channels; c++) {
                const float z = VALUE(x[c]) * scale[c] + shift[c] + VALUE(residual[c]);
                SET(y[c], relu && z < 0 ? 0 : z);          // NaN stays NaN
            }
            residual += channels;
        } else
            for (size_t c = 0; c < channels; c++) {
                const float z = VALUE(x[c]) * scale[c] + shift[c];
                SET(y[c], relu && z < 0 ? 0 : z);
            }
    }
}

/// Where the outputs of the mask lie for the part that begins at pixel `pixel` and channel `channel`.
DT_INLINE const ELEMENT *NAME(outputs_at)(const dt_batch_norm_mask *mask, size_t pixel, size_t channel) {
    return mask->y ? (const ELEMENT *)mask->y + pixel * mask->y_stride + channel : 0;
}

DT_INLINE void NAME(backward_block)(const pass_rule rule, const ELEMENT *dy, size_t dy_stride, const ELEMENT *y,
                                    size_t y_stride, const float *scales, const float *shifts, const ELEMENT *x,
                                    size_t pixels, size_t channels, const float *mean, size_t vectors, double *sum,
                                    double *product) {
    vector s[2] = {{0}, {0}}, q[2] = {{0}, {0}}, k[2], scale[2], shift[2];
    for (size_t v = 0; v < vectors; v++) {
        load_floats(mean + v * LANES, &k[v]);
        if (rule == PASS_BY_INPUT) load_floats(scales + v * LANES, &scale[v]), load_floats(shifts + v * LANES, &shift[v]);
    }
    for (size_t p = 0; p < pixels; p++)
        for (size_t v = 0; v < vectors; v++) {
            vector g, value, output;
            LOAD_VECTOR(dy + p * dy_stride + v * LANES, &g);
            LOAD_VECTOR(x + p * channels + v * LANES, &value);
            if (rule == PASS_BY_OUTPUT) LOAD_VECTOR(y + p * y_stride + v * LANES, &output);
            if (rule == PASS_BY_INPUT) output = value * scale[v] + shift[v];
            if (rule != PASS_ALL) g = (vector)((vector_mask)g & (output > 0));
            s[v] += g;
            q[v] += g * (value - k[v]);
        }
    for (size_t v = 0; v < vectors; v++)
        for (size_t lane = 0; lane < LANES; lane++) {
            sum[v * LANES + lane] += s[v][lane];
            product[v * LANES + lane] += q[v][lane];
        }
}

/// dz of `count` channels of a pixel.
DT_INLINE void NAME(pass)(const pass_rule rule, const ELEMENT *restrict dy, const ELEMENT *restrict y,
                          const ELEMENT *restrict x, const float *restrict scale, const float *restrict shift, size_t count,
                          float *restrict dz) {
    for (size_t c = 0; c < count; c++) {
        const float g = VALUE(dy[c]);
        switch (rule) {
        case PASS_ALL: dz[c] = g; break;
        case PASS_BY_OUTPUT: dz[c] = VALUE(y[c]) > 0 ? g : 0; break;
        case PASS_BY_INPUT: dz[c] = VALUE(x[c]) * scale[c] + shift[c] > 0 ? g : 0; break;
        }
    }
}

DT_INLINE void NAME(backward_rest)(const pass_rule rule, const ELEMENT *dy, size_t dy_stride, const ELEMENT *y,
                                   size_t y_stride, const float *scale, const float *shift, const ELEMENT *x, size_t pixels,
                                   size_t channels, const float *mean, size_t count, double *sum, double *product) {
    float s[LANES] = {0}, q[LANES] = {0}, dz[LANES];
    for (size_t p = 0; p < pixels; p++) {
        const ELEMENT *value = x + p * channels;
        NAME(pass)(rule, dy + p * dy_stride, y ? y + p * y_stride : 0, value, scale, shift, count, dz);
        for (size_t c = 0; c < count; c++) {
            s[c] += dz[c];
            q[c] += dz[c] * (VALUE(value[c]) - mean[c]);
        }
    }
    for (size_t c = 0; c < count; c++) {
        sum[c] += s[c];
        product[c] += q[c];
    }
}

DT_INLINE void NAME(backward_sums)(const pass_rule rule, const ELEMENT *dy, size_t dy_stride,
                                   const dt_batch_norm_mask *mask, const ELEMENT *x, size_t pixels, size_t channels,
                                   const float *mean, double *sum, double *product) {
#define AT(c) rule, dy + first * dy_stride + c, dy_stride, NAME(outputs_at)(mask, first, c), mask->y_stride, \
              mask->scale ? mask->scale + c : 0, mask->shift ? mask->shift + c : 0, x + first * channels + c, count, \
              channels, mean + c
    for (size_t first = 0; first < pixels; first += BLOCK) {
        const size_t count = pixels - first < BLOCK ? pixels - first : BLOCK;
        size_t c = 0;
        for (; c + 2 * LANES <= channels; c += 2 * LANES) NAME(backward_block)(AT(c), 2, sum + c, product + c);
        for (; c + LANES <= channels; c += LANES) NAME(backward_block)(AT(c), 1, sum + c, product + c);
        if (c < channels) NAME(backward_rest)(AT(c), channels - c, sum + c, product + c);
    }
#undef AT
}

DT_INLINE void NAME(propagate)(const float *restrict dz, const ELEMENT *x, size_t count, size_t first,
                               dt_batch_norm_gradient g, const int accumulate, ELEMENT *dx) {
    const float *scale = g.scale + first;
    if (!g.slope) {
        for (size_t c = 0; c < count; c++) SET(dx[c], scale[c] * dz[c] + (accumulate ? VALUE(dx[c]) : 0));
        return;
    }
    const float *offset = g.offset + first, *mean = g.mean + first, *slope = g.slope + first;
    for (size_t c = 0; c < count; c++)
        SET(dx[c], scale[c] * (dz[c] - offset[c] - (VALUE(x[c]) - mean[c]) * slope[c]) + (accumulate ? VALUE(dx[c]) : 0));
}

DT_INLINE void NAME(backward)(const pass_rule rule, const ELEMENT *dy, size_t dy_stride, const dt_batch_norm_mask *mask,
                              const ELEMENT *x, size_t pixels, size_t channels, dt_batch_norm_gradient gradient,
                              ELEMENT *dx, int accumulate, ELEMENT *residual, int accumulate_residual) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t first = 0; first < channels; first += CHUNK) {
            const size_t count = channels - first < CHUNK ? channels - first : CHUNK;
            const ELEMENT *input = x ? x + p * channels + first : 0;
            // A row goes through a buffer, so that dz is formed once for both results and dx may be dy.
            float dz[CHUNK];
            NAME(pass)(rule, dy + p * dy_stride + first, NAME(outputs_at)(mask, p, first), input,
                       mask->scale ? mask->scale + first : 0, mask->shift ? mask->shift + first : 0, count, dz);
            if (dx && accumulate) NAME(propagate)(dz, input, count, first, gradient, 1, dx + p * channels + first);
            else if (dx) NAME(propagate)(dz, input, count, first, gradient, 0, dx + p * channels + first);
            // Last, because the residual may be x itself: its gradient then adds to the one just written.
            if (!residual) continue;
            ELEMENT *r = residual + p * channels + first;
            if (accumulate_residual)
                for (size_t c = 0; c < count; c++) SET(r[c], VALUE(r[c]) + dz[c]);
            else
                for (size_t c = 0; c < count; c++) SET(r[c], dz[c]);
        }
}
