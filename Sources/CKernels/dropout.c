#include "dropout.h"
#include "dispatch.h"

/// Philox4x32-10, as in CounterRandom: four words for a counter of (index, index, layer, step) under a key.
DT_INLINE void philox(uint64_t index, uint32_t layer, uint32_t step, uint64_t seed, uint32_t words[4]) {
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = layer, c3 = step;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)c0 * 0xD2511F53u, p1 = (uint64_t)c2 * 0xCD9E8D57u;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

DT_DISPATCH
void dt_dropout(const float *x, float *y, size_t rows, size_t count, uint64_t first_position, uint64_t seed,
                uint32_t layer, uint32_t step, float probability, int accumulate) {
    const float scale = 1.0f / (1.0f - probability);
    const uint32_t threshold = (uint32_t)(probability * 0x1p24f);          // of the upper 24 bits of a word
    for (size_t row = 0; row < rows; row++, x += count, y += count) {
        // Every row starts at a counter of its own, so that its mask does not depend on the rows before it.
        const uint64_t base = (first_position + row) * ((count + 3) / 4);
        for (size_t block = 0; block < (count + 3) / 4; block++) {
            uint32_t words[4];
            philox(base + block, layer, step, seed, words);
            for (size_t lane = 0; lane < 4 && block * 4 + lane < count; lane++) {
                const size_t i = block * 4 + lane;
                const float kept = (words[lane] >> 8) >= threshold ? x[i] * scale : 0;
                y[i] = accumulate ? y[i] + kept : kept;
            }
        }
    }
}
