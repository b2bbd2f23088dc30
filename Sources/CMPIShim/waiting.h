#pragma once
// How a rank waits for another one without taking a core from a rank that computes.
//
// First a few tests at once, each followed by a sched_yield: ranks that arrive together pay microseconds. Then sleeps
// that grow with the time waited: an eighth of it, so that the answer is at most that much late, from 20 µs up to
// 500 µs; a wait of seconds (a coordinator without work) sleeps up to 5 ms at a time.
#include <sched.h>
#include <stdint.h>
#include <time.h>

enum {
    WAIT_IMMEDIATE_TESTS = 20,
    WAIT_LONG_TESTS = 100,          // from here on a wait looks for distress calls, too
};

typedef struct {
    double begin, seconds, elapsed;
    int tests;
} wait_state;

static inline double wait_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static inline wait_state wait_begin(double seconds) {
    return (wait_state){.begin = wait_now(), .seconds = seconds};
}

/// Whether the wait has lasted as long as it may.
static inline int wait_is_over(const wait_state *wait) { return wait->elapsed >= wait->seconds; }

/// Whether it is time for the rarer checks.
static inline int wait_is_long(const wait_state *wait) { return wait->tests >= WAIT_LONG_TESTS; }

/// Gives the core away until the next test.
static inline void wait_pause(wait_state *wait) {
    wait->tests += 1;
    if (wait->tests <= WAIT_IMMEDIATE_TESTS) {
        sched_yield();
        return;
    }
    wait->elapsed = wait_now() - wait->begin;
    double most = wait->elapsed * 1e-3;
    most = most < 500e-6 ? 500e-6 : most > 5e-3 ? 5e-3 : most;
    double sleep = wait->elapsed / 8;
    sleep = sleep < 20e-6 ? 20e-6 : sleep > most ? most : sleep;
    struct timespec time = {.tv_nsec = (long)(sleep * 1e9)};
    nanosleep(&time, NULL);
}
