#pragma once
// Counts what each thread allocates: the interposed malloc of the test process.

/// The number of allocations (malloc, calloc, realloc, aligned ones) that the calling thread has made so far; −1 where
/// allocations cannot be counted (another C library than glibc, a sanitizer that has a malloc of its own).
long allocation_count(void);
