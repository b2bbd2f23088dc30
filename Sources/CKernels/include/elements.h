#pragma once
#include <stddef.h>
#include <stdint.h>

/// Elements that lie in memory as fp32 or as bf16, the upper half of an fp32. A function that takes several such arguments
/// wants them all of one kind, unless it says otherwise.
typedef struct {
    void *start;                           ///< null where there are none
    int is_bf16;
} dt_elements;

/// Pixels, of some channels each, `stride` elements from one to the next.
typedef struct {
    dt_elements elements;
    size_t stride;
} dt_pixels;
