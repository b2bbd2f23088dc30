#pragma once
// fp32 and bf16 elements in kernels that are compiled for both: calculation is in fp32.
#include "dispatch.h"
#include "elements.h"

typedef float vector __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t vector_mask __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t vector_bits __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t half_vector __attribute__((vector_size(32), aligned(2), may_alias));

/// To the nearest bf16, ties to the even one. The sum would carry a NaN of the largest payload into the sign; a NaN keeps its
/// upper bits and is quiet.
DT_INLINE uint16_t rounded_to_bf16(float x) {
    union { float value; uint32_t bits; } number = {.value = x};
    uint32_t nearest = (number.bits + 0x7fff + (number.bits >> 16 & 1)) >> 16;
    return (uint16_t)(x != x ? number.bits >> 16 | 0x40 : nearest);
}

DT_INLINE float widened_bf16(uint16_t x) {
    union { uint32_t bits; float value; } number = {.bits = (uint32_t)x << 16};
    return number.value;
}

// Vectors go through memory: a function that returns one would have another calling convention for each instruction set.

DT_INLINE void load_floats(const float *from, vector *to) { *to = *(const vector *)from; }
DT_INLINE void load_bf16(const uint16_t *from, vector *to) {
    *to = (vector)(__builtin_convertvector(*(const half_vector *)from, vector_bits) << 16);
}
DT_INLINE void store_floats(const vector *value, float *to) { *(vector *)to = *value; }
DT_INLINE void store_bf16(const vector *value, uint16_t *to) {
    const vector_bits bits = (vector_bits)*value, is_nan = (vector_bits)(*value != *value);
    const vector_bits nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    *(half_vector *)to = __builtin_convertvector((is_nan & quiet) | (~is_nan & nearest), half_vector);
}

/// Floats of a vector.
enum { VECTOR_LENGTH = 16 };

/// The first `count` of 16 elements as floats, and zeros. Whether they are bf16 is a constant in each copy of the loops.
DT_INLINE void load(const void *elements, ptrdiff_t offset, const int is_bf16, size_t count, vector *to) {
    const float *floats = (const float *)elements + offset;
    const uint16_t *halves = (const uint16_t *)elements + offset;
    if (count >= VECTOR_LENGTH) {
        if (is_bf16) load_bf16(halves, to);
        else load_floats(floats, to);
        return;
    }
    float part[VECTOR_LENGTH] = {0};
    for (size_t i = 0; i < count; i++) part[i] = is_bf16 ? widened_bf16(halves[i]) : floats[i];
    load_floats(part, to);
}

/// Sets the first `count` elements, or adds to them.
DT_INLINE void store(const vector *value, void *elements, size_t offset, const int is_bf16, size_t count, int accumulate) {
    vector sum = *value;
    if (accumulate) {
        vector before;
        load(elements, (ptrdiff_t)offset, is_bf16, count, &before);
        sum += before;
    }
    float *floats = (float *)elements + offset;
    uint16_t *halves = (uint16_t *)elements + offset;
    if (count >= VECTOR_LENGTH) {
        if (is_bf16) store_bf16(&sum, halves);
        else store_floats(&sum, floats);
        return;
    }
    float part[VECTOR_LENGTH];
    store_floats(&sum, part);
    for (size_t i = 0; i < count; i++) {
        if (is_bf16) halves[i] = rounded_to_bf16(part[i]);
        else floats[i] = part[i];
    }
}

/// Floats whose upper halves are those of `value` to the nearest bf16, ties to the even one. A NaN of the largest payload would
/// carry into the sign, but arithmetic makes none.
DT_INLINE void round_upper_half(const vector *value, vector_bits *bits) {
    const vector_bits exact = (vector_bits)*value;
    *bits = exact + 0x7fff + (exact >> 16 & 1);
}
