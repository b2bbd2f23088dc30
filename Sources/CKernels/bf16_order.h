#pragma once
// bf16 as whole numbers of the same order: twice as many are compared in a vector as there are floats.
#include "element.h"

enum {
    HALVES = 32,                           ///< bf16 elements of a vector
    KEY_OF_ZERO = 0x7f80,
    LARGEST_KEY_OF_A_NUMBER = 0xff00,      ///< that of infinity; those of NaN are larger
};

typedef uint16_t key_vector __attribute__((vector_size(2 * HALVES), aligned(2), may_alias));
typedef int16_t signed_key_vector __attribute__((vector_size(2 * HALVES), aligned(2), may_alias));
typedef uint8_t byte_vector __attribute__((vector_size(HALVES), aligned(1), may_alias));

/// The keys of bf16 elements: minus infinity has 0, numbers that are equal have the same (both zeros, too), and NaN, of either
/// sign, more than all numbers.
DT_INLINE void load_keys(const uint16_t *from, key_vector *keys) {
    const key_vector x = *(const key_vector *)from, sign = (key_vector)((signed_key_vector)x >> 15);
    *keys = (((x & 0x7fff) ^ sign) - sign) + KEY_OF_ZERO;
}

/// The elements that have such keys. What was minus zero is zero.
DT_INLINE void store_keys(const key_vector *keys, uint16_t *to) {
    const key_vector number = *keys - KEY_OF_ZERO, sign = (key_vector)((signed_key_vector)number >> 15);
    *(key_vector *)to = ((number ^ sign) - sign) | (sign & 0x8000);
}

/// `one` where the mask has ones, `other` where it has zeros.
DT_INLINE void choose(const key_vector *mask, const key_vector *one, key_vector *other) {
    *other = (*mask & *one) | (~*mask & *other);
}
