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

/// e^x within 2 ulp for |x| below 87; clamped outside, NaN for NaN. Branch-free, so that loops over it vectorise.
/// Range reduction by Cody and Waite (x = n ln 2 + r), then the Taylor polynomial of degree 7 in r, |r| ≤ ln 2 / 2.
DT_INLINE float dt_exp(float x) {
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
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union { uint32_t bits; float value; } scale = {.bits = (shifted.bits + 127) << 23};
    return p * scale.value;
}

/// tanh x within 3 ulp: an odd polynomial below 0.625 (Cephes, Moshier 1989), 1 − 2 / (e^2x + 1) above.
DT_INLINE float dt_tanh(float x) {
    float magnitude = __builtin_fabsf(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = x + x * z * p;
    float large = __builtin_copysignf(1.0f - 2.0f / (dt_exp(2.0f * magnitude) + 1.0f), x);
    return magnitude < 0.625f ? small : large;
}

/// 1 / (1 + e^-x).
DT_INLINE float dt_sigmoid(float x) { return 1.0f / (1.0f + dt_exp(-x)); }
