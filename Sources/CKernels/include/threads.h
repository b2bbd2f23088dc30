#pragma once
// What glibc offers only to C with _GNU_SOURCE.

/// Names the calling thread, as top and gdb show it; longer names are cut to 15 characters.
void dt_thread_set_name(const char *name);

/// The number of processors that the calling thread may run on; 0 where the system does not say.
int dt_thread_affinity_count(void);
