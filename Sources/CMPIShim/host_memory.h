#pragma once
// Sums over the ranks of one host through memory that they share.
//
// Messages between processes of a host are copied twice, in fragments that both sides must look for. Here each rank lays
// down what the others add, forms the sums of one part of the elements, and takes the other parts from where they arise.
// No function waits; a sum of at most HOST_SUM_COUNT elements is
//
//     host_offer, until all have reached HOST_OFFERED, host_sum, host_publish, until all have reached HOST_SUMMED, host_collect
#include <mpi.h>
#include <stddef.h>
#include <stdint.h>
#include "mpi_shim.h"

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/// Elements that are summed at a time at most, 2 MiB.
enum { HOST_SUM_COUNT = DTMPI_HOST_SUM_COUNT };

/// The ranks of a group that run on this host, each with a segment of memory that all of them see.
typedef struct {
    int rank, size;
    struct host_segment **segments; // by rank; null where none is shared
    uint32_t round;                 // of the sum under way, or the last one
} host_memory;

/// Makes the segments of the ranks of `node`, `self->size` on one host, which all call it; one alone needs none. *is_shared
/// becomes 1 where all see all segments, 0 where any of them does not; then none holds any. A process that
/// DTRAIN_SHARED_MEMORY=0 is set for sees none.
int host_memory_share(host_memory *self, MPI_Comm node, int *is_shared);
/// Gives the memory back.
void host_memory_release(host_memory *self);

/// What a rank has done of the round under way.
typedef enum { HOST_OFFERED, HOST_SUMMED, HOST_STEPS } host_step;
/// Whether all ranks have come so far.
int host_has_reached(const host_memory *self, host_step step);

typedef struct {
    size_t start, count;
} host_part;

/// The elements of `count` whose sums rank `part` of `part_count` forms; none from `part_count` on. Parts begin at multiples
/// of a cache line.
host_part host_part_of(size_t count, int part_count, int part);

/// Lays down the values that the others sum.
void host_offer(host_memory *self, const float *values, size_t count, int part_count);
/// This rank's part of `values` becomes its sum over the host's ranks.
void host_sum(const host_memory *self, float *values, size_t count, int part_count);
/// Lays down this rank's part.
void host_publish(host_memory *self, const float *values, size_t count, int part_count);
/// Takes the parts of the others.
void host_collect(const host_memory *self, float *values, size_t count, int part_count);

/// sums[i] = parts[0][i] + … + parts[part_count − 1][i] for at most 2¹⁶ parts, pairwise: the largest power of two of them
/// that leaves a rest, plus that rest, ((0 + 1) + (2 + 3)) + (4 + 5) for six. So aligned groups of 2ⁿ parts may be added
/// first and their sums then, with the same bits. `sums` may be one of the parts.
void sum_pairwise(const float *const *parts, int part_count, float *sums, size_t count);
