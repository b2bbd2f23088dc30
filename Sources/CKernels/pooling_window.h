#pragma once
// What pooling over sliding and over adaptive windows share: one window, for a vector of channels.
#include "dispatch.h"

/// The part of a window that lies inside the image, in kernel rows or columns: [first, last).
typedef struct { ptrdiff_t origin; size_t first, last; } span;

// Channels are worked on in vectors of 8 (or 4) whose values stay in registers while the window is walked.
enum { LANES = 8 };

/// Calls BODY(c, lanes) for each vector of channels. What is left over is covered by a last vector that overlaps the one
/// before it, which only a body that sets its results may see twice; one that adds to them (`adds`) gets fewer lanes.
#define FOR_EACH_VECTOR(channels, adds, BODY)                                                  \
    {                                                                                          \
        size_t c_ = 0;                                                                         \
        for (; c_ + LANES <= (channels); c_ += LANES) BODY(c_, LANES)                          \
        if (c_ < (channels) && !(adds) && (channels) >= LANES) BODY((channels)-LANES, LANES)   \
        else if (c_ < (channels) && !(adds) && (channels) >= 4) {                              \
            BODY(0, 4)                                                                         \
            BODY((channels)-4, 4)                                                              \
        } else if (c_ < (channels)) BODY(c_, (channels)-c_)                                    \
    }

/// The largest pixel of a window for `lanes` channels, and where it lies (row · kernel_width + column): the first of equal ones.
DT_INLINE void max_of_window(const float *restrict window, size_t channels, size_t width, span rows, span columns,
                             size_t kernel_width, size_t lanes, float *restrict best, int32_t *restrict where) {
    const float *first = window + ((ptrdiff_t)(rows.first * width) + (ptrdiff_t)columns.first) * (ptrdiff_t)channels;
    for (size_t l = 0; l < lanes; l++) {
        best[l] = first[l];
        where[l] = (int32_t)(rows.first * kernel_width + columns.first);
    }
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            const float *pixel = window + ((ptrdiff_t)(ky * width) + (ptrdiff_t)kx) * (ptrdiff_t)channels;
            const int32_t position = (int32_t)(ky * kernel_width + kx);
            for (size_t l = 0; l < lanes; l++) {
                const int wins = pixel[l] > best[l] || pixel[l] != pixel[l];       // a NaN wins and stays
                best[l] = wins ? pixel[l] : best[l];
                where[l] = wins ? position : where[l];
            }
        }
}

/// `share` times the sum over a window.
DT_INLINE void mean_of_window(const float *restrict window, size_t channels, size_t width, span rows, span columns,
                              size_t lanes, float share, float *restrict y) {
    float sum[LANES];
    for (size_t l = 0; l < lanes; l++) sum[l] = 0;
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            const float *pixel = window + ((ptrdiff_t)(ky * width) + (ptrdiff_t)kx) * (ptrdiff_t)channels;
            for (size_t l = 0; l < lanes; l++) sum[l] += pixel[l];
        }
    for (size_t l = 0; l < lanes; l++) y[l] = sum[l] * share;
}

/// Gives each pixel of a window `share` times dy.
DT_INLINE void spread_evenly(const float *restrict dy, size_t channels, size_t width, span rows, span columns,
                             size_t lanes, float share, float *restrict window, int accumulate) {
    float gradient[LANES];
    for (size_t l = 0; l < lanes; l++) gradient[l] = dy[l] * share;
    for (size_t ky = rows.first; ky < rows.last; ky++)
        for (size_t kx = columns.first; kx < columns.last; kx++) {
            float *pixel = window + ((ptrdiff_t)(ky * width) + (ptrdiff_t)kx) * (ptrdiff_t)channels;
            for (size_t l = 0; l < lanes; l++) pixel[l] = accumulate ? pixel[l] + gradient[l] : gradient[l];
        }
}
