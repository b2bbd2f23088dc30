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

/// Transposes 16 × 16 pairs: row i of `x` becomes lane i of every row.
DT_INLINE TARGET void transpose(__m512i x[16]) {
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
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        y[i] = _mm512_shuffle_i32x4(x[i], x[4 + i], 0x88);
        y[4 + i] = _mm512_shuffle_i32x4(x[i], x[4 + i], 0xdd);
        y[8 + i] = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0x88);
        y[12 + i] = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0xdd);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_shuffle_i32x4(y[i], y[8 + i], 0x88);
        x[8 + i] = _mm512_shuffle_i32x4(y[i], y[8 + i], 0xdd);
        x[4 + i] = _mm512_shuffle_i32x4(y[4 + i], y[12 + i], 0x88);
        x[12 + i] = _mm512_shuffle_i32x4(y[4 + i], y[12 + i], 0xdd);
    }
}
/// Packs the right factor, for both sets of instructions.
void dt_bf16_pack_right(dt_bf16_factor factor, size_t first_line, size_t lines, size_t depth, size_t first_pair, size_t pairs,
                        uint32_t *to);
#endif
