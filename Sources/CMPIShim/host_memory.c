#include "host_memory.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };

/// What a rank shows the others. Values may be overwritten once all ranks have published their sums; sums once all have offered
/// their next values. Rounds of other lengths part the elements elsewhere, so neither may lie in the other's place.
struct host_segment {
    _Alignas(2 * LINE) _Atomic(uint32_t) offered; // the last round of which the values lie here
    _Alignas(2 * LINE) _Atomic(uint32_t) summed;  // the last round of which the sums lie here
    _Alignas(2 * LINE) float values[HOST_SUM_COUNT];
    float sums[HOST_SUM_COUNT];                   // of this rank's part, from the first on
};

int host_memory_allocate(host_memory *self, MPI_Comm node) {
    MPI_Info info;
    MPI_Win window;
    char *base;
    int is_done = 0;
    MPI_Comm_rank(node, &self->rank);
    MPI_Comm_size(node, &self->size);
    self->segments = calloc((size_t)self->size, sizeof *self->segments);
    if (!self->segments) return 0;
    if (MPI_Info_create(&info) != MPI_SUCCESS) return 0;
    // Each segment on pages of its own, near the core of its rank.
    MPI_Info_set(info, "alloc_shared_noncontig", "true");
    MPI_Aint size = sizeof(struct host_segment) + 2 * LINE;
    if (MPI_Win_allocate_shared(size, 1, info, node, &base, &window) == MPI_SUCCESS) {
        is_done = 1;
        for (int rank = 0; rank < self->size; rank++) {
            int unit;
            if (MPI_Win_shared_query(window, rank, &size, &unit, &base) != MPI_SUCCESS) is_done = 0;
            // All ranks map the segments at multiples of a page, so that they agree on what is aligned.
            size_t padding = -(uintptr_t)base % (2 * LINE);
            self->segments[rank] = (struct host_segment *)(base + padding);
        }
    }
    MPI_Info_free(&info);
    return is_done;
}

void host_memory_forget(host_memory *self) {
    free(self->segments);
    self->segments = NULL;
}

host_part host_part_of(size_t count, int part_count, int part) {
    enum { LINE_COUNT = LINE / sizeof(float) };
    size_t lines = (count + LINE_COUNT - 1) / LINE_COUNT;
    size_t length = (lines + (size_t)part_count - 1) / (size_t)part_count * LINE_COUNT;
    size_t start = length * (size_t)part;
    if (part >= part_count || start >= count) return (host_part){count, 0};
    return (host_part){start, count - start < length ? count - start : length};
}

void host_offer(host_memory *self, const float *values, size_t count, int part_count) {
    struct host_segment *segment = self->segments[self->rank];
    for (int part = 0; part < part_count; part++) {
        if (part == self->rank) continue;
        host_part range = host_part_of(count, part_count, part);
        memcpy(segment->values + range.start, values + range.start, range.count * sizeof *values);
    }
    self->round += 1;
    atomic_store_explicit(&segment->offered, self->round, memory_order_release);
}

int host_has_offers(const host_memory *self) {
    for (int rank = 0; rank < self->size; rank++)
        if (atomic_load_explicit(&self->segments[rank]->offered, memory_order_acquire) != self->round) return 0;
    return 1;
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
    atomic_store_explicit(&segment->summed, self->round, memory_order_release);
}

int host_has_sums(const host_memory *self) {
    for (int rank = 0; rank < self->size; rank++)
        if (atomic_load_explicit(&self->segments[rank]->summed, memory_order_acquire) != self->round) return 0;
    return 1;
}

void host_collect(const host_memory *self, float *values, size_t count, int part_count) {
    for (int part = 0; part < part_count; part++) {
        if (part == self->rank) continue;
        host_part range = host_part_of(count, part_count, part);
        memcpy(values + range.start, self->segments[part]->sums, range.count * sizeof *values);
    }
}

static void add(const float *a, const float *b, float *sums, size_t count) {
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
        size_t length = count - start < BLOCK ? count - start : BLOCK;
        memmove(sums + start, block_sum(parts, part_count, start, length, buffers), length * sizeof *sums);
    }
}
