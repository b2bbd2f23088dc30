#pragma once
#include "dispatch.h"

DT_INLINE uint16_t rounded_to_bf16(float x) {
    union { float value; uint32_t bits; } number = {.value = x};
    uint32_t nearest = (number.bits + 0x7fff + (number.bits >> 16 & 1)) >> 16;
    // The sum above would carry a NaN of the largest payload into the sign; a NaN keeps its upper bits and is quiet.
    return (uint16_t)(x != x ? number.bits >> 16 | 0x40 : nearest);
}

DT_INLINE float widened_bf16(uint16_t x) {
    union { uint32_t bits; float value; } number = {.bits = (uint32_t)x << 16};
    return number.value;
}
