#define _GNU_SOURCE
#include "threads.h"
#include <pthread.h>
#include <string.h>

void dt_thread_set_name(const char *name) {
    char shortened[16];                     // the kernel's limit, terminator included
    strncpy(shortened, name, sizeof shortened - 1);
    shortened[sizeof shortened - 1] = 0;
    pthread_setname_np(pthread_self(), shortened);
}
