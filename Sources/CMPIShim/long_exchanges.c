#include "communicator.h"
#include <stdlib.h>
#include <string.h>
#include "waiting.h"

// A blocking call of MPI looks for work without pause until it is over, and takes up to half of the core of a thread that
// computes. Long exchanges are non-blocking messages between all pairs of ranks instead, and this thread sleeps while the
// kernel's buffers keep the network busy.

/// The bytes of part `rank`, where `total` bytes are cut into parts of `part` bytes and the last ones are shorter.
static size_t part_size(size_t total, size_t part, int rank) {
    return smaller(total - smaller(part * (size_t)rank, total), part);
}

static int reserve_scratch(dtmpi_comm *self, size_t size) {
    if (self->scratch_size >= size) return DTMPI_OK;
    free(self->scratch);
    self->scratch = malloc(size);
    self->scratch_size = self->scratch ? size : 0;
    return self->scratch ? DTMPI_OK : DTMPI_NO_MEMORY;
}

/// Sends part k of `from` to each other peer k and receives as part k of `to` what it sends here; with `gathers` sends
/// the own part to all.
static int exchange(dtmpi_comm *self, peer_group peers, const char *from, char *to, size_t part, size_t total,
                    int gathers) {
    for (size_t done = 0; done < part; done += dtmpi_first_count(part - done)) {
        int count = 0;
        // Each begins with the rank behind it, so that not all send to one.
        for (int distance = 1; distance < peers.size; distance++) {
            int target = (peers.rank + distance) % peers.size;
            int source = (peers.rank - distance + peers.size) % peers.size;
            size_t sent = part_size(total, part, gathers ? peers.rank : target);
            size_t received = part_size(total, part, gathers ? source : peers.rank);
            if (received > done)
                TRY(MPI_Irecv(to + part * (size_t)source + done, (int)dtmpi_first_count(received - done), MPI_BYTE,
                              source, EXCHANGE_TAG, peers.comm, &self->requests[count++]));
            if (sent > done)
                TRY(MPI_Isend(from + part * (size_t)(gathers ? peers.rank : target) + done,
                              (int)dtmpi_first_count(sent - done), MPI_BYTE, target, EXCHANGE_TAG, peers.comm,
                              &self->requests[count++]));
        }
        int is_done = 0;
        for (wait_state wait = wait_begin(0);; wait_nap(&wait)) {
            TRY(MPI_Testall(count, self->requests, &is_done, MPI_STATUSES_IGNORE));
            if (is_done) break;
            dtmpi_abort_if_asked();
        }
    }
    return DTMPI_OK;
}

int dtmpi_allgather(dtmpi_comm *self, const void *bytes, size_t count, void *gathered) {
    if (count * (size_t)self->all.size >= LEAST_EXCHANGE) {
        memcpy((char *)gathered + count * (size_t)self->all.rank, bytes, count);
        return exchange(self, self->all, gathered, gathered, count, count * (size_t)self->all.size, 1);
    }
    return MPI_Allgather(bytes, (int)count, MPI_BYTE, gathered, (int)count, MPI_BYTE, self->all.comm);
}

int dtmpi_alltoall(dtmpi_comm *self, const void *parts, size_t count, void *received) {
    size_t own = count * (size_t)self->all.rank;
    memcpy((char *)received + own, (const char *)parts + own, count);
    return exchange(self, self->all, parts, received, count, count * (size_t)self->all.size, 0);
}

// MARK: - Long sums
//
// First over the ranks of each host that share memory, then across hosts, between the ranks of the same part.

int dtmpi_find_levels(dtmpi_comm *self, MPI_Comm node, int first_rank) {
    int is_shared;
    TRY(host_memory_share(&self->host, node, &is_shared));
    // The least over all ranks.
    int least[] = {is_shared, self->host.size, -self->host.size};
    TRY(MPI_Allreduce(MPI_IN_PLACE, least, 3, MPI_INT, MPI_MIN, self->all.comm));
    int most = -least[2];
    if (!least[0] || most == 1) {
        host_memory_release(&self->host);
        return DTMPI_OK;
    }
    self->first_sharing_rank = first_rank;
    self->part_count = least[1];
    self->largest_sum = HOST_SUM_COUNT;
    self->across = (peer_group){.comm = MPI_COMM_NULL};
    // Hosts in the order of their first ranks, the same for every part.
    int part = self->host.rank < self->part_count ? self->host.rank : MPI_UNDEFINED;
    TRY(MPI_Comm_split(self->all.comm, part, first_rank, &self->across.comm));
    return self->across.comm == MPI_COMM_NULL ? DTMPI_OK : dtmpi_make_group(self->across.comm, &self->across);
}

/// Sums over the peers across hosts: each forms the sums of one part, and all collect them.
static int sum_across(dtmpi_comm *self, float *values, size_t count) {
    peer_group peers = self->across;
    if (peers.size == 1 || count == 0) return DTMPI_OK;
    size_t total = count * sizeof *values;
    size_t part = (count + (size_t)peers.size - 1) / (size_t)peers.size * sizeof *values;
    TRY(reserve_scratch(self, part * (size_t)peers.size));
    TRY(exchange(self, peers, (char *)values, self->scratch, part, total, 0));
    const float *parts[peers.size];
    float *sums = values + smaller(part * (size_t)peers.rank, total) / sizeof *values;
    for (int rank = 0; rank < peers.size; rank++)
        parts[rank] = rank == peers.rank ? sums : (const float *)(self->scratch + part * (size_t)rank);
    sum_pairwise(parts, peers.size, sums, part_size(total, part, peers.rank) / sizeof *values);
    return exchange(self, peers, (char *)values, (char *)values, part, total, 1);
}

static int nap_until(const dtmpi_comm *self, host_step step) {
    for (wait_state wait = wait_begin(0); !host_has_reached(&self->host, step); wait_nap(&wait)) {
        dtmpi_abort_if_asked();
        // What this rank has sent may need it to go on, and another host the message before its ranks come here.
        int has_message;
        if (wait.elapsed > 1e-3)
            TRY(MPI_Iprobe(MPI_ANY_SOURCE, DISTRESS_TAG, self->control, &has_message, MPI_STATUS_IGNORE));
    }
    return DTMPI_OK;
}

int dtmpi_host_reduce_scatter(dtmpi_comm *self, float *values, size_t count, size_t *start, size_t *own) {
    host_part part = {0, count};
    if (self->host.segments) {
        part = host_part_of(count, self->part_count, self->host.rank);
        host_offer(&self->host, values, count, self->part_count);
        TRY(nap_until(self, HOST_OFFERED));
        host_sum(&self->host, values, count, self->part_count);
    }
    *start = part.start;
    *own = part.count;
    return DTMPI_OK;
}

int dtmpi_host_all_gather(dtmpi_comm *self, float *values, size_t count) {
    if (!self->host.segments) return DTMPI_OK;
    host_publish(&self->host, values, count, self->part_count);
    TRY(nap_until(self, HOST_SUMMED));
    host_collect(&self->host, values, count, self->part_count);
    return DTMPI_OK;
}

int dtmpi_allreduce_sum_f32(dtmpi_comm *self, float *values, size_t count) {
    if (count * sizeof *values < LEAST_EXCHANGE || self->all.size == 1)
        return dtmpi_reduce(self, values, count, sizeof *values, MPI_FLOAT, MPI_SUM);
    for (size_t done = 0, length; done < count; done += length) {
        size_t start, own;
        length = smaller(count - done, self->largest_sum);
        TRY(dtmpi_host_reduce_scatter(self, values + done, length, &start, &own));
        TRY(sum_across(self, values + done + start, own));
        TRY(dtmpi_host_all_gather(self, values + done, length));
    }
    return DTMPI_OK;
}
