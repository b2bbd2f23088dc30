#pragma once
// What pooling over sliding and over adaptive windows share: one window, or one pixel's windows, for a vector of channels.
// Elements are fp32 or bf16, a constant in each copy of the loops; sums are fp32 and rounded once.
#include "element.h"

/// The part of a window that lies inside the image, in kernel rows or columns: [first, last).
typedef struct { ptrdiff_t origin; size_t first, last; } span;

/// The output rows or columns whose windows have an input row or column: [first, last).
typedef struct { size_t first, last; } range;

// Channels are worked on in vectors of 16 (or 8, or 4) whose values stay in registers while the window is walked.
enum { LANES = 16 };

/// Calls BODY(c, lanes) for each vector of channels. What is left over is covered by a last vector that overlaps the one
/// before it, which only a body that sets its results may see twice; one that adds to them (`adds`) gets fewer lanes.
#define FOR_EACH_VECTOR(channels, adds, BODY)                                                  \
    {                                                                                          \
        size_t c_ = 0;                                                                         \
        for (; c_ + LANES <= (channels); c_ += LANES) BODY(c_, LANES)                          \
        if (c_ < (channels) && (adds)) BODY(c_, (channels)-c_)                                 \
        else if (c_ < (channels) && (channels) >= LANES) BODY((channels)-LANES, LANES)         \
        else if (c_ < (channels) && (channels) >= 8) {                                         \
            BODY(0, 8)                                                                         \
            BODY((channels)-8, 8)                                                              \
        } else if (c_ < (channels) && (channels) >= 4) {                                       \
            BODY(0, 4)                                                                         \
            BODY((channels)-4, 4)                                                              \
        } else if (c_ < (channels)) BODY(c_, (channels)-c_)                                    \
    }

DT_INLINE float value_at(const void *elements, const int is_bf16, size_t i) {
    return is_bf16 ? widened_bf16(((const uint16_t *)elements)[i]) : ((const float *)elements)[i];
}

DT_INLINE void set_value(void *elements, const int is_bf16, size_t i, float value) {
    if (is_bf16) ((uint16_t *)elements)[i] = rounded_to_bf16(value);
    else ((float *)elements)[i] = value;
}

/// The elements from the given one on.
DT_INLINE void *from_element(const void *elements, const int is_bf16, ptrdiff_t i) {
    return is_bf16 ? (void *)((uint16_t *)elements + i) : (void *)((float *)elements + i);
}

/// The largest pixel of a window for `lanes` channels, and where it lies (row · row_step + column): the first of equal ones.
DT_INLINE void max_of_window(const void *window, const int is_bf16, size_t channels, size_t width, span rows, span columns,
                             size_t row_step, size_t lanes, float *restrict best, int32_t *restrict where) {
    const size_t first = (rows.first * width + columns.first) * channels;
    for (size_t l = 0; l < lanes; l++) {
        best[l] = value_at(window, is_bf16, first + l);
        where[l] = (int32_t)(rows.first * row_step + columns.first);
    }
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            const size_t pixel = (ky * width + kx) * channels;
            const int32_t position = (int32_t)(ky * row_step + kx);
            for (size_t l = 0; l < lanes; l++) {
                const float value = value_at(window, is_bf16, pixel + l);
                const int wins = value > best[l] || value != value;       // a NaN wins and stays
                best[l] = wins ? value : best[l];
                where[l] = wins ? position : where[l];
            }
        }
}

/// `share` times the sum over a window.
DT_INLINE void mean_of_window(const void *window, const int is_bf16, size_t channels, size_t width, span rows, span columns,
                              size_t lanes, float share, float *restrict y) {
    float sum[LANES];
    for (size_t l = 0; l < lanes; l++) sum[l] = 0;
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            const size_t pixel = (ky * width + kx) * channels;
            for (size_t l = 0; l < lanes; l++) sum[l] += value_at(window, is_bf16, pixel + l);
        }
    for (size_t l = 0; l < lanes; l++) y[l] = sum[l] * share;
}
