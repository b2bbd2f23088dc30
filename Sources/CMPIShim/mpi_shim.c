#define _GNU_SOURCE                // sets of cores
#include "mpi_shim.h"
#include <limits.h>
#include <mpi.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host_memory.h"
#include "waiting.h"

/// Ranks that exchange messages pairwise.
typedef struct {
    MPI_Comm comm;
    int rank, size;
} peer_group;

struct dtmpi_comm {
    peer_group all;
    MPI_Comm control;              // ready tokens and distress calls: they must not meet the user's messages
    int local_rank, local_size, first_local_rank;
    int local_cores;               // on which the ranks of this host may run, all together
    int64_t sequence;
    MPI_Request arrival, token;
    int is_arriving, has_token;
    int64_t *distress;             // per rank: the arrival that it said it waits in
    MPI_Request *requests;         // of an exchange: one to and one from each other rank
    char *scratch;                 // what a sum receives
    size_t scratch_size;
    // Long sums go by two levels, first over the ranks of a host, then across hosts: `find_levels`.
    int has_levels;
    host_memory host;
    int part_count;                // of each host's ranks so many form sums, each of another part of the elements
    peer_group across;             // those of this part, one on each host
    size_t largest_sum;            // elements that go at a time
};

enum {
    DISTRESS_TAG = DTMPI_TAG_LIMIT,
    EXCHANGE_TAG,
    // Shorter sums and gathers are MPI's own: they are over before a rank could sleep.
    LEAST_EXCHANGE = 64 << 10,
};

static size_t largest_count = INT_MAX;
static atomic_int abort_code;      // 0: nobody asks
static int has_own_core;           // this host's ranks may use as many cores as they are

#define TRY(call)                                  \
    do {                                           \
        int status_ = (call);                      \
        if (status_ != MPI_SUCCESS) return status_; \
    } while (0)

// MARK: - Start and end

/// Takes over `comm`; collective.
static int wrap(MPI_Comm comm, dtmpi_comm **result) {
    dtmpi_comm *self = calloc(1, sizeof *self);
    if (!self) return DTMPI_NO_MEMORY;
    *result = self;
    self->all.comm = comm;
    TRY(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    TRY(MPI_Comm_dup(comm, &self->control));
    TRY(MPI_Comm_set_errhandler(self->control, MPI_ERRORS_RETURN));
    TRY(MPI_Comm_rank(comm, &self->all.rank));
    TRY(MPI_Comm_size(comm, &self->all.size));
    self->distress = calloc((size_t)self->all.size, sizeof *self->distress);
    self->requests = calloc(2 * (size_t)self->all.size, sizeof *self->requests);
    if (!self->distress || !self->requests) return DTMPI_NO_MEMORY;
    MPI_Comm node;
    TRY(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, self->all.rank, MPI_INFO_NULL, &node));
    TRY(MPI_Comm_rank(node, &self->local_rank));
    TRY(MPI_Comm_size(node, &self->local_size));
    self->first_local_rank = self->all.rank;
    TRY(MPI_Bcast(&self->first_local_rank, 1, MPI_INT, 0, node));
#ifdef __linux__
    cpu_set_t cores;
    CPU_ZERO(&cores);
    sched_getaffinity(0, sizeof cores, &cores);
    TRY(MPI_Allreduce(MPI_IN_PLACE, &cores, sizeof cores, MPI_BYTE, MPI_BOR, node));
    self->local_cores = CPU_COUNT(&cores);
#endif
    return MPI_Comm_free(&node);
}

int dtmpi_init(dtmpi_comm **world) {
    *world = NULL;
    int is_initialised = 0;
    MPI_Initialized(&is_initialised);
    if (is_initialised) return DTMPI_STARTED_BEFORE;
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    wait_prepare();
    int provided = MPI_THREAD_SINGLE;
    TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    if (provided < MPI_THREAD_FUNNELED) return DTMPI_THREAD_LEVEL;
    TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    TRY(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    MPI_Comm copy;
    TRY(MPI_Comm_dup(MPI_COMM_WORLD, &copy));
    TRY(wrap(copy, world));
    has_own_core = (*world)->local_cores >= (*world)->local_size;
    return DTMPI_OK;
}

void dtmpi_set_awaited(int is_awaited) { atomic_store(&wait_is_awaited, is_awaited && has_own_core); }

int dtmpi_finalize(void) { return MPI_Finalize(); }

void dtmpi_comm_free(dtmpi_comm *self) {
    if (self) {
        free(self->distress);
        free(self->requests);
        free(self->scratch);
        host_memory_release(&self->host);
    }
    free(self);
}

int dtmpi_rank(const dtmpi_comm *self) { return self->all.rank; }
int dtmpi_size(const dtmpi_comm *self) { return self->all.size; }
int dtmpi_local_rank(const dtmpi_comm *self) { return self->local_rank; }
int dtmpi_local_size(const dtmpi_comm *self) { return self->local_size; }
int dtmpi_first_local_rank(const dtmpi_comm *self) { return self->first_local_rank; }
int64_t dtmpi_sequence(const dtmpi_comm *self) { return self->sequence; }

void dtmpi_host_name(char name[DTMPI_HOST_CAPACITY]) {
    static_assert(MPI_MAX_PROCESSOR_NAME <= DTMPI_HOST_CAPACITY, "a host name must fit");
    int length = 0;
    memset(name, 0, DTMPI_HOST_CAPACITY);
    if (MPI_Get_processor_name(name, &length) != MPI_SUCCESS) strcpy(name, "unknown");
}

void dtmpi_error_text(int status, char *text, size_t capacity) {
    char message[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    switch (status) {
    case DTMPI_OK: strcpy(message, "no error"); break;
    case DTMPI_PENDING: strcpy(message, "the time to wait is over"); break;
    case DTMPI_DISTRESS: strcpy(message, "another rank has given up waiting"); break;
    case DTMPI_THREAD_LEVEL: strcpy(message, "this MPI library does not support MPI_THREAD_FUNNELED"); break;
    case DTMPI_NO_MEMORY: strcpy(message, "out of memory"); break;
    case DTMPI_STARTED_BEFORE: strcpy(message, "MPI is already initialised in this process"); break;
    default:
        if (MPI_Error_string(status, message, &length) != MPI_SUCCESS)
            snprintf(message, sizeof message, "MPI error %d", status);
    }
    snprintf(text, capacity, "%s", message);
}

// MARK: - Abort

void dtmpi_request_abort(int code) { atomic_store(&abort_code, code ? code : 1); }

void dtmpi_abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

static void abort_if_asked(void) {
    int code = atomic_load_explicit(&abort_code, memory_order_relaxed);
    if (code) dtmpi_abort(code);
}

// MARK: - Arrival

/// Takes the distress calls that have come; 1 where one of them is about the arrival under way.
static int hear_distress(dtmpi_comm *self, int *is_called) {
    *is_called = 0;
    while (1) {
        int has_message = 0;
        MPI_Status status;
        TRY(MPI_Iprobe(MPI_ANY_SOURCE, DISTRESS_TAG, self->control, &has_message, &status));
        if (!has_message) return DTMPI_OK;
        int64_t sequence = 0;
        TRY(MPI_Recv(&sequence, 1, MPI_INT64_T, status.MPI_SOURCE, DISTRESS_TAG, self->control, MPI_STATUS_IGNORE));
        self->distress[status.MPI_SOURCE] = sequence;
        if (sequence == self->sequence) *is_called = 1;
    }
}

int dtmpi_arrive(dtmpi_comm *self, double seconds) {
    if (!self->is_arriving) {
        self->sequence += 1;
        if (self->all.size == 1) return DTMPI_OK;
        TRY(MPI_Ibarrier(self->all.comm, &self->arrival));
        self->is_arriving = 1;
    }
    wait_state wait = wait_begin(seconds);
    while (1) {
        int is_done = 0;
        int status = MPI_Test(&self->arrival, &is_done, MPI_STATUS_IGNORE);
        if (status != MPI_SUCCESS || is_done) {
            self->is_arriving = 0;
            return status;
        }
        if (wait_is_over(&wait)) return DTMPI_PENDING;
        if (wait_is_long(&wait)) {
            abort_if_asked();
            int is_called = 0;
            TRY(hear_distress(self, &is_called));
            if (is_called) return DTMPI_DISTRESS;
        }
        wait_pause(&wait);
    }
}

int dtmpi_find_missing(dtmpi_comm *self, double seconds, uint8_t *is_waiting) {
    // The calls of a lost rank never complete: they are left to the end of the process, with the buffer that they read.
    int64_t *call = malloc(sizeof *call);
    MPI_Request *requests = malloc((size_t)self->all.size * sizeof *requests);
    if (!call || !requests) {
        free(call);
        free(requests);
        return DTMPI_NO_MEMORY;
    }
    *call = self->sequence;
    self->distress[self->all.rank] = self->sequence;
    int count = 0;
    for (int other = 0; other < self->all.size; other++)
        if (other != self->all.rank)
            TRY(MPI_Isend(call, 1, MPI_INT64_T, other, DISTRESS_TAG, self->control, &requests[count++]));
    wait_state wait = wait_begin(seconds);
    int missing;
    do {
        int is_called = 0, is_done = 0;
        TRY(hear_distress(self, &is_called));
        TRY(MPI_Testall(count, requests, &is_done, MPI_STATUSES_IGNORE));
        missing = 0;
        for (int other = 0; other < self->all.size; other++) {
            is_waiting[other] = self->distress[other] == self->sequence;
            missing += !is_waiting[other];
        }
        abort_if_asked();
        if (missing == 0 && is_done) {
            free(call);
            free(requests);
            break;
        }
        wait_pause(&wait);
    } while (!wait_is_over(&wait));
    return DTMPI_OK;
}

// MARK: - Collectives

void dtmpi_set_largest_count(size_t count) { largest_count = count; }

size_t dtmpi_first_count(size_t count) { return count < largest_count ? count : largest_count; }

static int allreduce(dtmpi_comm *self, char *values, size_t count, size_t width, MPI_Datatype type, MPI_Op op) {
    while (count > 0) {
        size_t part = dtmpi_first_count(count);
        TRY(MPI_Allreduce(MPI_IN_PLACE, values, (int)part, type, op, self->all.comm));
        values += part * width;
        count -= part;
    }
    return DTMPI_OK;
}

// MARK: - Long exchanges
//
// A blocking call of MPI looks for work without pause until it is over, and takes up to half of the core of a thread that
// computes. Long exchanges are non-blocking messages between all pairs of ranks instead, and this thread sleeps while the
// kernel's buffers keep the network busy.

/// The bytes of part `rank`, where `total` bytes are cut into parts of `part` bytes and the last ones are shorter.
static size_t part_size(size_t total, size_t part, int rank) {
    size_t start = part * (size_t)rank;
    return start >= total ? 0 : total - start < part ? total - start : part;
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
    for (size_t done = 0; done < part; done += largest_count) {
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
            abort_if_asked();
        }
    }
    return DTMPI_OK;
}

// MARK: - Long sums
//
// First over the ranks of each host that share memory, then across hosts, between the ranks of the same part.

/// Finds out which ranks share a host's memory. Where any host's cannot, all ranks are one level.
static int find_levels(dtmpi_comm *self) {
    MPI_Comm comm = self->all.comm, node;
    TRY(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, self->all.rank, MPI_INFO_NULL, &node));
    int is_shared = 1;
    if (self->local_size > 1) TRY(host_memory_share(&self->host, node, &is_shared));
    TRY(MPI_Comm_free(&node));
    // The least over all ranks.
    int least[] = {is_shared, self->local_size, -self->local_size};
    TRY(MPI_Allreduce(MPI_IN_PLACE, least, 3, MPI_INT, MPI_MIN, comm));
    int has_hosts = least[0] && least[2] < -1;
    if (!has_hosts) host_memory_release(&self->host);
    self->part_count = has_hosts ? least[1] : 1;
    self->largest_sum = has_hosts ? HOST_SUM_COUNT : SIZE_MAX;
    int part = has_hosts ? self->local_rank : 0;
    // Hosts in the order of their first ranks, the same for every part.
    int key = has_hosts ? self->first_local_rank : self->all.rank;
    TRY(MPI_Comm_split(comm, part < self->part_count ? part : MPI_UNDEFINED, key, &self->across.comm));
    if (self->across.comm != MPI_COMM_NULL) {
        TRY(MPI_Comm_set_errhandler(self->across.comm, MPI_ERRORS_RETURN));
        TRY(MPI_Comm_rank(self->across.comm, &self->across.rank));
        TRY(MPI_Comm_size(self->across.comm, &self->across.size));
    }
    self->has_levels = 1;
    return DTMPI_OK;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

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

static int nap_until(const dtmpi_comm *self, int (*is_done)(const host_memory *)) {
    for (wait_state wait = wait_begin(0); !is_done(&self->host); wait_nap(&wait)) {
        abort_if_asked();
        // What this rank has sent may need it to go on, and another host the message before its ranks come here.
        int has_message;
        if (wait.elapsed > 1e-3)
            TRY(MPI_Iprobe(MPI_ANY_SOURCE, DISTRESS_TAG, self->control, &has_message, MPI_STATUS_IGNORE));
    }
    return DTMPI_OK;
}

int dtmpi_host_reduce_scatter(dtmpi_comm *self, float *values, size_t count, size_t *start, size_t *own) {
    if (!self->has_levels) TRY(find_levels(self));
    host_part part = {0, count};
    if (self->host.segments) {
        part = host_part_of(count, self->part_count, self->local_rank);
        host_offer(&self->host, values, count, self->part_count);
        TRY(nap_until(self, host_has_offers));
        host_sum(&self->host, values, count, self->part_count);
    }
    *start = part.start;
    *own = part.count;
    return DTMPI_OK;
}

int dtmpi_host_all_gather(dtmpi_comm *self, float *values, size_t count) {
    if (!self->host.segments) return DTMPI_OK;
    host_publish(&self->host, values, count, self->part_count);
    TRY(nap_until(self, host_has_sums));
    host_collect(&self->host, values, count, self->part_count);
    return DTMPI_OK;
}

int dtmpi_across_hosts(dtmpi_comm *self, dtmpi_comm **part) {
    *part = NULL;
    return self->across.comm == MPI_COMM_NULL ? DTMPI_OK : wrap(self->across.comm, part);
}

int dtmpi_allreduce_sum_f32(dtmpi_comm *self, float *values, size_t count) {
    if (count * sizeof *values < LEAST_EXCHANGE || self->all.size == 1)
        return allreduce(self, (char *)values, count, sizeof *values, MPI_FLOAT, MPI_SUM);
    if (!self->has_levels) TRY(find_levels(self));
    for (size_t done = 0, length; done < count; done += length) {
        size_t start, own;
        length = smaller(count - done, self->largest_sum);
        TRY(dtmpi_host_reduce_scatter(self, values + done, length, &start, &own));
        TRY(sum_across(self, values + done + start, own));
        TRY(dtmpi_host_all_gather(self, values + done, length));
    }
    return DTMPI_OK;
}

int dtmpi_allreduce_sum_f64(dtmpi_comm *self, double *values, size_t count) {
    return allreduce(self, (char *)values, count, sizeof *values, MPI_DOUBLE, MPI_SUM);
}

int dtmpi_allreduce_sum_i64(dtmpi_comm *self, int64_t *values, size_t count) {
    return allreduce(self, (char *)values, count, sizeof *values, MPI_INT64_T, MPI_SUM);
}

int dtmpi_allreduce_max_i64(dtmpi_comm *self, int64_t *values, size_t count) {
    return allreduce(self, (char *)values, count, sizeof *values, MPI_INT64_T, MPI_MAX);
}

int dtmpi_allreduce_min_i64(dtmpi_comm *self, int64_t *values, size_t count) {
    return allreduce(self, (char *)values, count, sizeof *values, MPI_INT64_T, MPI_MIN);
}

int dtmpi_broadcast(dtmpi_comm *self, void *bytes, size_t count, int root) {
    char *next = bytes;
    while (count > 0) {
        size_t part = dtmpi_first_count(count);
        TRY(MPI_Bcast(next, (int)part, MPI_BYTE, root, self->all.comm));
        next += part;
        count -= part;
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

int dtmpi_split(dtmpi_comm *self, int colour, int key, dtmpi_comm **part) {
    *part = NULL;
    MPI_Comm comm;
    TRY(MPI_Comm_split(self->all.comm, colour < 0 ? MPI_UNDEFINED : colour, key, &comm));
    return comm == MPI_COMM_NULL ? DTMPI_OK : wrap(comm, part);
}

// MARK: - Point to point

/// Waits until a message with `tag` from `source` can be received.
static int await_message(MPI_Comm comm, int source, int tag, double seconds, MPI_Status *status) {
    wait_state wait = wait_begin(seconds);
    while (1) {
        int has_message = 0;
        TRY(MPI_Iprobe(source, tag, comm, &has_message, status));
        if (has_message) return DTMPI_OK;
        if (wait_is_over(&wait)) return DTMPI_PENDING;
        if (wait_is_long(&wait)) abort_if_asked();
        wait_pause(&wait);
    }
}

int dtmpi_await_receiver(dtmpi_comm *self, int destination, int tag, double seconds) {
    MPI_Status status;
    TRY(await_message(self->control, destination, tag, seconds, &status));
    return MPI_Recv(NULL, 0, MPI_BYTE, destination, tag, self->control, MPI_STATUS_IGNORE);
}

int dtmpi_send(dtmpi_comm *self, const void *bytes, size_t count, int destination, int tag) {
    const char *next = bytes;
    do {
        size_t part = dtmpi_first_count(count);
        TRY(MPI_Send(next, (int)part, MPI_BYTE, destination, tag, self->all.comm));
        next += part;
        count -= part;
    } while (count > 0);
    return DTMPI_OK;
}

int dtmpi_await_sender(dtmpi_comm *self, int source, int tag, double seconds, size_t *first_count) {
    if (!self->has_token) {
        TRY(MPI_Isend(NULL, 0, MPI_BYTE, source, tag, self->control, &self->token));
        self->has_token = 1;
    }
    MPI_Status status;
    TRY(await_message(self->all.comm, source, tag, seconds, &status));
    int count = 0;
    TRY(MPI_Get_count(&status, MPI_BYTE, &count));
    *first_count = (size_t)count;
    self->has_token = 0;
    // The message answers the token, so that has long gone out.
    return MPI_Wait(&self->token, MPI_STATUS_IGNORE);
}

int dtmpi_receive(dtmpi_comm *self, void *bytes, size_t count, int source, int tag) {
    char *next = bytes;
    do {
        size_t part = dtmpi_first_count(count);
        TRY(MPI_Recv(next, (int)part, MPI_BYTE, source, tag, self->all.comm, MPI_STATUS_IGNORE));
        next += part;
        count -= part;
    } while (count > 0);
    return DTMPI_OK;
}
