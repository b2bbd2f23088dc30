#define _GNU_SOURCE
#include "threads.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>

void dt_thread_set_name(const char *name) {
    char shortened[16];                     // the kernel's limit, terminator included
    strncpy(shortened, name, sizeof shortened - 1);
    shortened[sizeof shortened - 1] = 0;
    pthread_setname_np(pthread_self(), shortened);
}

int dt_thread_affinity_count(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}
