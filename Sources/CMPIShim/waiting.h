#pragma once
// How a rank waits for another one without taking a core from a rank that computes.
//
// First a few tests at once: ranks that arrive together pay microseconds. Then sleeps that grow with the time waited: an
// eighth of it, so that the answer is at most that much late, from 20 µs up to 500 µs; a wait of seconds (a coordinator
// without work) sleeps up to 5 ms at a time.
//
// Where the thread that computes sleeps until the exchange is over, its core is free: for some milliseconds the tests then
// follow each other without a pause.
//
// Never sched_yield: beside a thread that computes it gives the core away for a whole slice of the scheduler, 4 ms on
// Linux 6.18, where a sleep of 20 µs takes 70. Open MPI itself yields in every test that finds nothing to do
// (mpi_yield_when_idle, which mpirun sets where ranks outnumber cores), so this thread asks for short slices: a yield then
// takes 0.4 ms.
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum {
    WAIT_IMMEDIATE_TESTS = 5,
    WAIT_LONG_TESTS = 100,          // from here on a wait looks for distress calls, too
};

/// A wait tests without pause for so many seconds, while `dtmpi_is_awaited` is not 0.
static const double WAIT_EAGER_SECONDS = 2e-3;
extern atomic_int dtmpi_is_awaited;

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

/// Whether the next test need not be put off.
static inline int wait_is_eager(wait_state *wait) {
    if (!atomic_load_explicit(&dtmpi_is_awaited, memory_order_relaxed)) return 0;
    wait->elapsed = wait_now() - wait->begin;
    return wait->elapsed < WAIT_EAGER_SECONDS;
}

/// Whether it is time for the rarer checks.
static inline int wait_is_long(const wait_state *wait) { return wait->tests >= WAIT_LONG_TESTS; }

/// Makes the calling thread one that sleeps often and briefly.
static inline void wait_prepare(void) {
#ifdef __linux__
    // Short sleeps end when asked, not up to 50 µs later.
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    if (sched_getscheduler(0) != SCHED_OTHER) return;
    // The first version of struct sched_attr, which not every C library has. A runtime is the length of slices from Linux
    // 6.12 on, and without meaning before.
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.policy = SCHED_OTHER, .nice = getpriority(PRIO_PROCESS, 0), .runtime = 100000};
    attributes.size = sizeof attributes;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

/// Sleeps until the next test of an exchange under way: at most 200 µs, in which 25 KB pass at 1 Gbit/s, 250 KB at
/// 10 Gbit/s, which the kernel's buffers hold.
static inline void wait_nap(wait_state *wait) {
    if (wait_is_eager(wait)) return;
    wait->elapsed = wait_now() - wait->begin;
    double sleep = wait->elapsed / 8;
    sleep = sleep < 10e-6 ? 10e-6 : sleep > 200e-6 ? 200e-6 : sleep;
    struct timespec time = {.tv_nsec = (long)(sleep * 1e9)};
    nanosleep(&time, NULL);
}

/// Gives the core away until the next test.
static inline void wait_pause(wait_state *wait) {
    if (wait_is_eager(wait)) return;
    wait->tests += 1;
    if (wait->tests <= WAIT_IMMEDIATE_TESTS) return;
    wait->elapsed = wait_now() - wait->begin;
    double most = wait->elapsed * 1e-3;
    most = most < 500e-6 ? 500e-6 : most > 5e-3 ? 5e-3 : most;
    double sleep = wait->elapsed / 8;
    sleep = sleep < 20e-6 ? 20e-6 : sleep > most ? most : sleep;
    struct timespec time = {.tv_nsec = (long)(sleep * 1e9)};
    nanosleep(&time, NULL);
}
