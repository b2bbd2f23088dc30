#define _GNU_SOURCE                // sets of cores
#include "communicator.h"
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "waiting.h"

static size_t largest_count = INT_MAX;
static atomic_int abort_code;      // 0: nobody asks
static int has_own_core;           // this host's ranks may use as many cores as they are
atomic_int dtmpi_is_awaited;

// MARK: - Start and end

int dtmpi_make_group(MPI_Comm comm, peer_group *group) {
    group->comm = comm;
    TRY(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    TRY(MPI_Comm_rank(comm, &group->rank));
    return MPI_Comm_size(comm, &group->size);
}

/// Takes over `comm`; collective. Its sums have two levels where it `has_levels` and ranks share memory.
static int wrap(MPI_Comm comm, int has_levels, dtmpi_comm **result) {
    dtmpi_comm *self = calloc(1, sizeof *self);
    if (!self) return DTMPI_NO_MEMORY;
    *result = self;
    TRY(dtmpi_make_group(comm, &self->all));
    self->across = self->all;
    self->first_sharing_rank = self->all.rank;
    self->part_count = 1;
    self->largest_sum = SIZE_MAX;
    TRY(MPI_Comm_dup(comm, &self->control));
    TRY(MPI_Comm_set_errhandler(self->control, MPI_ERRORS_RETURN));
    self->distress = calloc((size_t)self->all.size, sizeof *self->distress);
    self->requests = calloc(2 * (size_t)self->all.size, sizeof *self->requests);
    if (!self->distress || !self->requests) return DTMPI_NO_MEMORY;
    peer_group node;
    TRY(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, self->all.rank, MPI_INFO_NULL, &node.comm));
    TRY(dtmpi_make_group(node.comm, &node));
    self->host = (host_memory){.rank = node.rank, .size = node.size};
    int first_rank = self->all.rank;
    TRY(MPI_Bcast(&first_rank, 1, MPI_INT, 0, node.comm));
#ifdef __linux__
    cpu_set_t cores;
    CPU_ZERO(&cores);
    sched_getaffinity(0, sizeof cores, &cores);
    TRY(MPI_Allreduce(MPI_IN_PLACE, &cores, sizeof cores, MPI_BYTE, MPI_BOR, node.comm));
    self->local_cores = CPU_COUNT(&cores);
#endif
    if (has_levels) TRY(dtmpi_find_levels(self, node.comm, first_rank));
    return MPI_Comm_free(&node.comm);
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
    TRY(wrap(copy, 1, world));
    has_own_core = (*world)->local_cores >= (*world)->host.size;
    return DTMPI_OK;
}

void dtmpi_set_awaited(int is_awaited) { atomic_store(&dtmpi_is_awaited, is_awaited && has_own_core); }

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
int dtmpi_local_rank(const dtmpi_comm *self) { return self->host.rank; }
int dtmpi_local_size(const dtmpi_comm *self) { return self->host.size; }
int dtmpi_first_sharing_rank(const dtmpi_comm *self) { return self->first_sharing_rank; }
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

void dtmpi_abort_if_asked(void) {
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
            dtmpi_abort_if_asked();
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
        dtmpi_abort_if_asked();
        if (missing == 0 && is_done) {
            free(call);
            free(requests);
            break;
        }
        wait_pause(&wait);
    } while (!wait_is_over(&wait));
    return DTMPI_OK;
}

// MARK: - Collectives of MPI

void dtmpi_set_largest_count(size_t count) { largest_count = count; }

size_t dtmpi_first_count(size_t count) { return smaller(count, largest_count); }

int dtmpi_reduce(dtmpi_comm *self, void *values, size_t count, size_t width, MPI_Datatype type, MPI_Op op) {
    char *next = values;
    while (count > 0) {
        size_t part = dtmpi_first_count(count);
        TRY(MPI_Allreduce(MPI_IN_PLACE, next, (int)part, type, op, self->all.comm));
        next += part * width;
        count -= part;
    }
    return DTMPI_OK;
}

int dtmpi_allreduce_sum_f64(dtmpi_comm *self, double *values, size_t count) {
    return dtmpi_reduce(self, values, count, sizeof *values, MPI_DOUBLE, MPI_SUM);
}

int dtmpi_allreduce_sum_i64(dtmpi_comm *self, int64_t *values, size_t count) {
    return dtmpi_reduce(self, values, count, sizeof *values, MPI_INT64_T, MPI_SUM);
}

int dtmpi_allreduce_max_i64(dtmpi_comm *self, int64_t *values, size_t count) {
    return dtmpi_reduce(self, values, count, sizeof *values, MPI_INT64_T, MPI_MAX);
}

int dtmpi_allreduce_min_i64(dtmpi_comm *self, int64_t *values, size_t count) {
    return dtmpi_reduce(self, values, count, sizeof *values, MPI_INT64_T, MPI_MIN);
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

int dtmpi_across_hosts(dtmpi_comm *self, dtmpi_comm **part) {
    *part = NULL;
    return self->across.comm == MPI_COMM_NULL ? DTMPI_OK : wrap(self->across.comm, 0, part);
}

int dtmpi_split(dtmpi_comm *self, int colour, int key, dtmpi_comm **part) {
    *part = NULL;
    MPI_Comm comm;
    TRY(MPI_Comm_split(self->all.comm, colour < 0 ? MPI_UNDEFINED : colour, key, &comm));
    return comm == MPI_COMM_NULL ? DTMPI_OK : wrap(comm, 1, part);
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
        if (wait_is_long(&wait)) dtmpi_abort_if_asked();
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
