#pragma once
// Which part of a (dilated) window lies inside the image.
#include "dispatch.h"
#include "window.h"

/// The kernel columns whose input column lies inside the image, for an output column: [first, last).
DT_INLINE void valid_columns(const dt_window *w, size_t ox, ptrdiff_t *origin, size_t *first, size_t *last) {
    *origin = (ptrdiff_t)(ox * w->stride_width) - (ptrdiff_t)w->padding_width;
    *first = 0;
    while (*first < w->kernel_width && *origin + (ptrdiff_t)(*first * w->dilation_width) < 0) ++*first;
    *last = w->kernel_width;
    while (*last > *first && *origin + (ptrdiff_t)((*last - 1) * w->dilation_width) >= (ptrdiff_t)w->width) --*last;
}

/// The kernel rows of one output line that lie inside the image, [first, last), and the input line of kernel row 0.
typedef struct { ptrdiff_t top; size_t first, last; } kernel_rows;

DT_INLINE kernel_rows valid_rows(const dt_window *w, size_t line) {
    kernel_rows rows = {(ptrdiff_t)(line % w->output_height * w->stride_height) - (ptrdiff_t)w->padding_height, 0,
                        w->kernel_height};
    while (rows.first < rows.last && rows.top + (ptrdiff_t)(rows.first * w->dilation_height) < 0) rows.first++;
    while (rows.last > rows.first && rows.top + (ptrdiff_t)((rows.last - 1) * w->dilation_height) >= (ptrdiff_t)w->height)
        rows.last--;
    return rows;
}
