#pragma once
// What every kernel file starts with.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/// One copy of the function per instruction set, chosen when the program is loaded.
#if defined(__x86_64__) && !defined(DT_NO_DISPATCH)
#define DT_DISPATCH __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
/// For what is only used with AVX-512, but for tests.
#define DT_DISPATCH_AVX512 __attribute__((target_clones("arch=x86-64-v4", "default")))
#else
#define DT_DISPATCH
#define DT_DISPATCH_AVX512
#endif

/// Helpers must be inlined into each copy of their caller, or they stay at the lowest instruction set.
#define DT_INLINE static inline __attribute__((always_inline))

DT_INLINE size_t smaller(size_t x, size_t y) { return x < y ? x : y; }

/// What e^x = (1 + r + r² · rest) · scale is made of.
typedef struct { float r, rest, scale; } dt_exp_parts;

/// For x from −87 to 88, clamped outside, NaN for NaN. Branch-free, so that loops over it vectorise. Range reduction by Cody and
/// Waite (x = n ln 2 + r, scale = 2^n), then the Taylor polynomial of degree 7 in r, |r| ≤ ln 2 / 2.
DT_INLINE dt_exp_parts dt_exp_parts_of(float x) {
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    // Adding 1.5 · 2^23 rounds to a whole number and leaves it in the lowest bits: no conversion that a NaN would break.
    union { float value; uint32_t bits; } shifted = {.value = x * 1.44269504f + 0x1.8p23f};
    float n = shifted.value - 0x1.8p23f;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9841270e-4f;
    p = p * r + 1.3888889e-3f;
    p = p * r + 8.3333333e-3f;
    p = p * r + 4.1666667e-2f;
    p = p * r + 1.6666667e-1f;
    p = p * r + 0.5f;
    union { uint32_t bits; float value; } scale = {.bits = (shifted.bits + 127) << 23};
    return (dt_exp_parts){r, p, scale.value};
}

/// e^x within 2 ulp for |x| below 87; clamped outside.
DT_INLINE float dt_exp(float x) {
    const dt_exp_parts e = dt_exp_parts_of(x);
    return ((e.rest * e.r + 1.0f) * e.r + 1.0f) * e.scale;
}

/// tanh x within 3 ulp: (e^2|x| − 1) / (e^2|x| + 1) with the sign of x. The difference is formed without e^2|x| itself, in which
/// a small x would be lost.
DT_INLINE float dt_tanh(float x) {
    const dt_exp_parts e = dt_exp_parts_of(2.0f * __builtin_fabsf(x));
    const float difference = e.scale * (e.rest * e.r * e.r + e.r) + (e.scale - 1.0f);
    return __builtin_copysignf(difference / (difference + 2.0f), x);
}

/// 1 / (1 + e^-x).
DT_INLINE float dt_sigmoid(float x) { return 1.0f / (1.0f + dt_exp(-x)); }
