#define _GNU_SOURCE
#include "tile_emulator.h"

#if defined(__x86_64__) && defined(__linux__)
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

// What a thread's tile registers hold.
static _Thread_local struct {
    bool is_configured;
    uint16_t row_bytes[TILES];
    uint8_t rows[TILES];
    uint8_t data[TILES][ROWS][ROW_BYTES];
} state;

/// An instruction, decoded: VEX of three bytes, map 0F 38, as all of these have.
typedef struct {
    uint8_t opcode, prefix;                 ///< prefix: 0 none, 1 is 66, 2 is F3, 3 is F2
    bool has_memory;
    unsigned reg, rm, vvvv;                 ///< registers
    uintptr_t address;                      ///< base and displacement of the memory operand
    int64_t index;                          ///< the scaled index: a tile's rows lie so far apart
    size_t length;
} instruction;

static int64_t value_of(const ucontext_t *context, unsigned number) {
    static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return context->uc_mcontext.gregs[places[number]];
}

static bool decode(const ucontext_t *context, instruction *to) {
    const uint8_t *start = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP], *at = start;
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2) return false;
    const unsigned r = ~at[1] >> 7 & 1, x = ~at[1] >> 6 & 1, b = ~at[1] >> 5 & 1;
    const bool is_wide = at[2] >> 7, is_256 = at[2] >> 2 & 1;
    if (is_wide || is_256) return false;
    *to = (instruction){.opcode = at[3], .prefix = at[2] & 3, .vvvv = ~at[2] >> 3 & 15};
    const unsigned mod = at[4] >> 6, rm = at[4] & 7;
    to->reg = (at[4] >> 3 & 7) | r << 3;
    to->rm = rm | b << 3;
    to->has_memory = mod != 3;
    at += 5;
    if (to->has_memory) {
        bool has_base = true;
        if (rm == 4) {
            const uint8_t sib = *at++;
            const unsigned index = (sib >> 3 & 7) | x << 3;
            if (index != 4) to->index = value_of(context, index) * (1 << (sib >> 6));
            has_base = mod != 0 || (sib & 7) != 5;
            if (has_base) to->address = (uintptr_t)value_of(context, (sib & 7) | b << 3);
        } else if (mod == 0 && rm == 5)
            return false;                   // relative to the instruction: only LDTILECFG of a constant
        else
            to->address = (uintptr_t)value_of(context, to->rm);
        if (mod == 1) to->address += (uintptr_t)(intptr_t)(int8_t)*at++;
        else if (mod == 2 || !has_base) {
            int32_t displacement;
            memcpy(&displacement, at, 4);
            to->address += (uintptr_t)(intptr_t)displacement;
            at += 4;
        }
    }
    to->length = (size_t)(at - start);
    return true;
}

static bool configure(const uint8_t *from) {
    if (from[0] != 1 || from[1] != 0) return false;
    memset(&state, 0, sizeof state);
    for (int tile = 0; tile < TILES; tile++) {
        memcpy(&state.row_bytes[tile], from + 16 + 2 * tile, 2);
        state.rows[tile] = from[48 + tile];
        const bool is_empty = state.rows[tile] == 0 && state.row_bytes[tile] == 0;
        if (!is_empty && (state.rows[tile] == 0 || state.row_bytes[tile] == 0)) return false;
        if (state.rows[tile] > ROWS || state.row_bytes[tile] > ROW_BYTES) return false;
    }
    // Reserved: also the shapes of tiles 8 to 15.
    for (int byte = 2; byte < 64; byte++)
        if ((byte < 16 || (byte >= 32 && byte < 48) || byte >= 56) && from[byte] != 0) return false;
    state.is_configured = true;
    return true;
}

static bool is_there(unsigned tile) { return state.is_configured && tile < TILES && state.rows[tile] > 0; }

/// Denormal numbers count as zeros.
static float flushed(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x; }
static float widened(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return flushed(value);
}

/// Even and odd terms have sums of their own, which begin at zero.
static bool multiply(unsigned sums, unsigned left, unsigned right) {
    if (!is_there(sums) || !is_there(left) || !is_there(right) || sums == left || sums == right || left == right) return false;
    const size_t depth = state.row_bytes[left] / 4u, columns = state.row_bytes[sums] / 4u;
    if (state.rows[left] != state.rows[sums] || state.rows[right] != depth || state.row_bytes[right] != columns * 4
        || state.row_bytes[left] % 4 != 0 || state.row_bytes[sums] % 4 != 0)
        return false;
    for (size_t i = 0; i < state.rows[sums]; i++)
        for (size_t j = 0; j < columns; j++) {
            float sum, parts[2] = {0, 0};
            for (size_t p = 0; p < depth; p++) {
                uint16_t a[2], b[2];
                memcpy(a, &state.data[left][i][4 * p], 4);
                memcpy(b, &state.data[right][p][4 * j], 4);
                for (int k = 0; k < 2; k++) parts[k] = flushed(fmaf(widened(a[k]), widened(b[k]), parts[k]));
            }
            memcpy(&sum, &state.data[sums][i][4 * j], 4);
            sum = flushed(flushed(sum) + flushed(parts[0] + parts[1]));
            memcpy(&state.data[sums][i][4 * j], &sum, 4);
        }
    return true;
}

static bool move_rows(const instruction *i, bool stores) {
    if (!i->has_memory || !is_there(i->reg)) return false;
    for (unsigned row = 0; row < state.rows[i->reg]; row++) {
        uint8_t *memory = (uint8_t *)(i->address + (uintptr_t)(row * i->index)), *tile = state.data[i->reg][row];
        if (stores) memcpy(memory, tile, state.row_bytes[i->reg]);
        else memcpy(tile, memory, state.row_bytes[i->reg]);
    }
    return true;
}

static bool execute(const instruction *i) {
    enum { NONE = 0, F3 = 2, F2 = 3 };
    switch (i->opcode << 2 | i->prefix) {
        case 0x49 << 2 | NONE:
            if (i->has_memory) return configure((const uint8_t *)i->address);       // LDTILECFG
            memset(&state, 0, sizeof state);                                        // TILERELEASE
            return true;
        case 0x49 << 2 | F2:                                                        // TILEZERO
            if (i->has_memory || !is_there(i->reg)) return false;
            memset(state.data[i->reg], 0, sizeof state.data[i->reg]);
            return true;
        case 0x4b << 2 | F2: return move_rows(i, false);                            // TILELOADD
        case 0x4b << 2 | F3: return move_rows(i, true);                             // TILESTORED
        case 0x5c << 2 | F3: return !i->has_memory && multiply(i->reg, i->rm, i->vvvv);     // TDPBF16PS
        default: return false;
    }
}

static struct sigaction before;
static _Atomic long count;

static void handle(int signal, siginfo_t *information, void *data) {
    ucontext_t *context = data;
    instruction next;
    if (decode(context, &next) && execute(&next)) {
        context->uc_mcontext.gregs[REG_RIP] += (greg_t)next.length;
        count++;
        return;
    }
    // Not one of these, or wrong: as before, when it is tried again.
    (void)information;
    sigaction(signal, &before, NULL);
}

static void begin(void) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, &before);
}

bool emulate_tiles(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin);
    return true;
}

long emulated_tile_instructions(void) { return count; }
#else
bool emulate_tiles(void) { return false; }
long emulated_tile_instructions(void) { return 0; }
#endif
