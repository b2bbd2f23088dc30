#define _GNU_SOURCE                // memfd_create
#include "host_memory.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 64 };

/// What a rank shows the others. Values may be overwritten once all ranks have published their sums; sums once all have offered
/// their next values. Rounds of other lengths part the elements elsewhere, so neither may lie in the other's place.
struct host_segment {
    uint64_t secret;
    struct {
        _Alignas(2 * LINE) _Atomic(uint32_t) round; // the last one in which this rank has come so far
    } steps[HOST_STEPS];
    _Alignas(2 * LINE) float values[HOST_SUM_COUNT];
    float sums[HOST_SUM_COUNT];                   // of this rank's part, from the first on
};

/// Where the others find a rank's segment: an open file of its process. The number tells it from another file, where
/// processes do not see each other by the numbers that they have themselves (containers).
typedef struct {
    int64_t process, file;
    uint64_t secret;
} segment_address;

static struct host_segment *map(int file) {
    void *memory = mmap(NULL, sizeof(struct host_segment), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/// A file in memory that nobody executes, which some systems insist on.
static int make_file(void) {
#ifdef MFD_NOEXEC_SEAL
    int file = memfd_create("dtrain", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (file >= 0) return file;
#endif
    return memfd_create("dtrain", MFD_CLOEXEC);
}

static int reserve(int file) {
    int error;
    do error = posix_fallocate(file, 0, sizeof(struct host_segment));
    while (error == EINTR);
    return error;
}

/// Makes this rank's segment, on memory near its core: -1 where there is none. Reserved at once: where a limit is reached it
/// fails here, and not at a first touch.
static int make_segment(struct host_segment **segment, uint64_t secret) {
    const char *setting = getenv("DTRAIN_SHARED_MEMORY");
    if (setting && strcmp(setting, "0") == 0) return -1;
    int file = make_file();
    if (file < 0) return -1;
    if (reserve(file) != 0 || !(*segment = map(file))) {
        close(file);
        return -1;
    }
    (*segment)->secret = secret;
    return file;
}

static struct host_segment *open_segment(segment_address address) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)address.process, (long long)address.file);
    int file = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat status;
    // A mapping behind the end of another file would end the process when touched.
    int is_whole = file >= 0 && fstat(file, &status) == 0 && status.st_size == sizeof(struct host_segment);
    struct host_segment *segment = is_whole ? map(file) : NULL;
    if (file >= 0) close(file);
    if (segment && segment->secret != address.secret) {
        munmap(segment, sizeof *segment);
        return NULL;
    }
    return segment;
}

int host_memory_share(host_memory *self, MPI_Comm node, int *is_shared) {
    // All that can fail on one rank alone is done between the calls of MPI, which all ranks make.
    *is_shared = 1;
    if (self->size == 1) return MPI_SUCCESS;
    self->segments = calloc((size_t)self->size, sizeof *self->segments);
    segment_address addresses[self->size];
    segment_address own = {.process = getpid(), .file = -1};
    if (getrandom(&own.secret, sizeof own.secret, 0) == sizeof own.secret && self->segments)
        own.file = make_segment(&self->segments[self->rank], own.secret);
    int status = MPI_Allgather(&own, sizeof own, MPI_BYTE, addresses, sizeof own, MPI_BYTE, node);
    *is_shared = status == MPI_SUCCESS && own.file >= 0;
    for (int rank = 0; *is_shared && rank < self->size; rank++) {
        if (rank == self->rank) continue;
        self->segments[rank] = addresses[rank].file < 0 ? NULL : open_segment(addresses[rank]);
        *is_shared = self->segments[rank] != NULL;
    }
    if (status == MPI_SUCCESS) status = MPI_Allreduce(MPI_IN_PLACE, is_shared, 1, MPI_INT, MPI_MIN, node);
    if (own.file >= 0) close((int)own.file);
    if (status != MPI_SUCCESS || !*is_shared) host_memory_release(self);
    return status;
}

void host_memory_release(host_memory *self) {
    for (int rank = 0; self->segments && rank < self->size; rank++)
        if (self->segments[rank]) munmap(self->segments[rank], sizeof(struct host_segment));
    free(self->segments);
    self->segments = NULL;
}

static void reach(const host_memory *self, host_step step) {
    atomic_store_explicit(&self->segments[self->rank]->steps[step].round, self->round, memory_order_release);
}

int host_has_reached(const host_memory *self, host_step step) {
    for (int rank = 0; rank < self->size; rank++)
        if (atomic_load_explicit(&self->segments[rank]->steps[step].round, memory_order_acquire) != self->round) return 0;
    return 1;
}

host_part host_part_of(size_t count, int part_count, int part) {
    enum { LINE_COUNT = LINE / sizeof(float) };
    size_t lines = (count + LINE_COUNT - 1) / LINE_COUNT;
    size_t length = (lines + (size_t)part_count - 1) / (size_t)part_count * LINE_COUNT;
    size_t start = part < part_count ? smaller(length * (size_t)part, count) : count;
    return (host_part){start, smaller(count - start, length)};
}

void host_offer(host_memory *self, const float *values, size_t count, int part_count) {
    struct host_segment *segment = self->segments[self->rank];
    for (int part = 0; part < part_count; part++) {
        if (part == self->rank) continue;
        host_part range = host_part_of(count, part_count, part);
        memcpy(segment->values + range.start, values + range.start, range.count * sizeof *values);
    }
    self->round += 1;
    reach(self, HOST_OFFERED);
}

void host_sum(const host_memory *self, float *values, size_t count, int part_count) {
    const float *parts[self->size];
    host_part own = host_part_of(count, part_count, self->rank);
    for (int rank = 0; rank < self->size; rank++)
        parts[rank] = (rank == self->rank ? values : self->segments[rank]->values) + own.start;
    sum_pairwise(parts, self->size, values + own.start, own.count);
}

void host_publish(host_memory *self, const float *values, size_t count, int part_count) {
    struct host_segment *segment = self->segments[self->rank];
    host_part own = host_part_of(count, part_count, self->rank);
    memcpy(segment->sums, values + own.start, own.count * sizeof *values);
    reach(self, HOST_SUMMED);
}

void host_collect(const host_memory *self, float *values, size_t count, int part_count) {
    for (int part = 0; part < part_count; part++) {
        if (part == self->rank) continue;
        host_part range = host_part_of(count, part_count, part);
        memcpy(values + range.start, self->segments[part]->sums, range.count * sizeof *values);
    }
}

/// `sums` may be one of the summands.
static void add(const float *a, const float *b, float *sums, size_t count) {
#pragma clang loop vectorize(assume_safety)
    for (size_t i = 0; i < count; i++) sums[i] = a[i] + b[i];
}

enum { BLOCK = 1024, DEPTH = 17 };      // the sums of a block stay in the first cache

/// The sum of a block; in `buffers[0]`, unless it is the only part.
static const float *block_sum(const float *const *parts, int part_count, size_t start, size_t length,
                              float (*buffers)[BLOCK]) {
    if (part_count == 1) return parts[0] + start;
    int first_count = 1;
    while (2 * first_count < part_count) first_count *= 2;
    const float *first = block_sum(parts, first_count, start, length, buffers);
    const float *second = block_sum(parts + first_count, part_count - first_count, start, length, buffers + 1);
    add(first, second, buffers[0], length);
    return buffers[0];
}

void sum_pairwise(const float *const *parts, int part_count, float *sums, size_t count) {
    _Alignas(LINE) float buffers[DEPTH][BLOCK];
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t length = smaller(count - start, BLOCK);
        memmove(sums + start, block_sum(parts, part_count, start, length, buffers), length * sizeof *sums);
    }
}
