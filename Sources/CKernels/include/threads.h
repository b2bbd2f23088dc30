#pragma once
// What glibc offers only to C with _GNU_SOURCE.

/// Names the calling thread, as top and gdb show it; longer names are cut to 15 characters.
void dt_thread_set_name(const char *name);
