#include "dispatch.h"
#include "include/bf16.h"

/// The upper half of an fp32 number, after half of the lowest kept bit is added; a tie goes to the even neighbour.
DT_INLINE uint16_t dt_bf16(float value) {
    union { float value; uint32_t bits; } x = {.value = value};
    uint32_t rounded = x.bits + 0x7fff + (x.bits >> 16 & 1);
    // The sum would turn a NaN into infinity or zero.
    uint32_t quiet = x.bits | 0x400000;
    return (uint16_t)(((x.bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16);
}

DT_DISPATCH void dt_round_to_bf16(const float *from, size_t from_stride, uint16_t *to, size_t rows, size_t count) {
    if (from_stride == count) {
        count *= rows;
        rows = 1;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *restrict x = from + row * from_stride;
        uint16_t *restrict y = to + row * count;
        for (size_t i = 0; i < count; i++) y[i] = dt_bf16(x[i]);
    }
}
