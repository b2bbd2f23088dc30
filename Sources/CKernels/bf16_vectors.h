#pragma once
// How AVX-512 rounds floats to pairs of bf16, and transposes pairs: what packs factors for AMX, too.
#include "bf16_instructions.h"

#if defined(__x86_64__) && !defined(DT_NO_DISPATCH)
#define DT_BF16_VECTORS 1
#include <immintrin.h>
#define DT_BF16_FEATURES "avx512bf16,avx512f,avx512bw,avx512vl,avx512dq"
#define TARGET __attribute__((target(DT_BF16_FEATURES)))

DT_INLINE __mmask16 first_lanes(size_t count) { return count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1); }

/// The pairs of 16 neighbouring terms of two stored rows, of which the second may be missing.
DT_INLINE TARGET __m512i pairs_across(const float *one, const float *other, __mmask16 lanes) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                           20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512 low = _mm512_maskz_loadu_ps(lanes, one);
    const __m512 high = other ? _mm512_maskz_loadu_ps(lanes, other) : _mm512_setzero_ps();
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/// 16 pairs of neighbouring terms of a stored row, of which `terms` are there.
DT_INLINE TARGET __m512i pairs_along(const float *row, size_t terms) {
    const __mmask16 low = first_lanes(terms), high = first_lanes(terms > 16 ? terms - 16 : 0);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, row + 16), _mm512_maskz_loadu_ps(low, row));
}

/// Rows that are `distance` apart exchange their quarters: the first takes the even ones of both, the second the odd ones.
DT_INLINE TARGET void exchange_quarters(const __m512i from[16], __m512i to[16], const size_t distance) {
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 16; i++) {
        if (i & distance) continue;
        to[i] = _mm512_shuffle_i32x4(from[i], from[i + distance], 0x88);
        to[i + distance] = _mm512_shuffle_i32x4(from[i], from[i + distance], 0xdd);
    }
}

/// Transposes 16 × 16 pairs, so that row i becomes lane i of every row, and stores the first `count` rows, `stride` pairs apart.
DT_INLINE TARGET void store_transposed(__m512i x[16], size_t count, uint32_t *to, size_t stride) {
    __m512i y[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 4) {
        x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    // x[4 g + i] has, in each quarter q, column 4 q + i of the rows 4 g to 4 g + 3.
    exchange_quarters(x, y, 4);
    exchange_quarters(y, x, 8);
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 16; i++)
        if (i < count) _mm512_storeu_si512(to + i * stride, x[i]);
}

/// Packs the right factor, for both sets of instructions.
void dt_bf16_pack_right(dt_bf16_factor factor, size_t first_line, size_t lines, size_t depth, size_t first_pair, size_t pairs,
                        uint32_t *to);
#endif
