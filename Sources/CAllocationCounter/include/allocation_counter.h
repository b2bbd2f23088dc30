#pragma once
// Counts what each thread allocates: malloc interposed in the executable, for `dtrain bench` and for tests.

/// The number of allocations (malloc, calloc, realloc, aligned ones) that the calling thread has made so far; −1 where
/// that means nothing (another C library than glibc, a sanitizer with a malloc of its own, a debug build, where the
/// compiler leaves allocations in that a release build does not have).
long allocation_count(void);
