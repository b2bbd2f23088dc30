#pragma once
#include <stdbool.h>

/// From now on the instructions of Intel's AMX that multiply bf16 (Intel 64 and IA-32 Architectures Software Developer's Manual,
/// volumes 1 and 2) are computed in software where the processor does not know them. False where this is no x86-64 Linux.
bool emulate_tiles(void);
/// How many were computed so.
long emulated_tile_instructions(void);
