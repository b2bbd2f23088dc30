#pragma once
// Message passing without mpi.h: Swift cannot import Open MPI's constants, which are cast macros.
//
// Every function but dtmpi_set_awaited, the two that abort, dtmpi_host_name and dtmpi_error_text is called from one thread, the
// one that called dtmpi_init. All return a status: 0, one of the negative ones below, or a positive MPI error code, whose text
// dtmpi_error_text gives. Buffers of any length: counts above INT_MAX are split.
//
// A blocking collective of MPI spins while it waits, and takes a core from a rank that still computes. So every
// operation has two parts: an arrival, which polls and sleeps until all ranks are there (dtmpi_arrive and the two
// dtmpi_await functions, each with a time limit), and the exchange itself: long fp32 sums, long all-gathers and all-to-alls test
// and sleep, all else blocks.
#include <stddef.h>
#include <stdint.h>

/// A communicator and its private twin for ready tokens and distress calls.
typedef struct dtmpi_comm dtmpi_comm;

enum {
    DTMPI_OK = 0,
    DTMPI_PENDING = -1,         // the time is over; call again to wait on
    DTMPI_DISTRESS = -2,        // another rank has given up waiting and asks who is there: dtmpi_find_missing
    DTMPI_THREAD_LEVEL = -3,    // the library does not offer MPI_THREAD_FUNNELED
    DTMPI_NO_MEMORY = -4,
    DTMPI_STARTED_BEFORE = -5,  // MPI was already initialised by somebody else
};

/// Initialises MPI (MPI_THREAD_FUNNELED; idle waits yield unless OMPI_MCA_mpi_yield_when_idle says otherwise; errors
/// are returned) and makes the communicator of all ranks. The caller's thread becomes MPI's.
int dtmpi_init(dtmpi_comm **world);
/// Says whether a thread sleeps until the operations under way are over: its core is then free to wait for other ranks
/// without pauses, unless this host's ranks may use fewer cores than they are. From any thread.
void dtmpi_set_awaited(int is_awaited);
/// Ends MPI; all ranks must come.
int dtmpi_finalize(void);
/// Frees the handle; MPI keeps the communicator until dtmpi_finalize, because freeing it would need all ranks.
void dtmpi_comm_free(dtmpi_comm *comm);

int dtmpi_rank(const dtmpi_comm *comm);
int dtmpi_size(const dtmpi_comm *comm);
int dtmpi_local_rank(const dtmpi_comm *comm);
int dtmpi_local_size(const dtmpi_comm *comm);
/// The lowest of the ranks that share memory with this one, itself included: those of its host, or none else.
int dtmpi_first_sharing_rank(const dtmpi_comm *comm);
/// The number of arrivals begun: the same on all ranks of the group.
int64_t dtmpi_sequence(const dtmpi_comm *comm);

/// Bytes that a host name may take, terminator included.
enum { DTMPI_HOST_CAPACITY = 256 };
/// The name of this host as MPI knows it.
void dtmpi_host_name(char name[DTMPI_HOST_CAPACITY]);
/// The text of a status.
void dtmpi_error_text(int status, char *text, size_t capacity);

/// Waits until all ranks have arrived, for `seconds` at most; after DTMPI_PENDING it goes on with the same arrival.
int dtmpi_arrive(dtmpi_comm *comm, double seconds);
/// Asks all ranks, for `seconds`, which of them wait in the same arrival, and tells them that this one does;
/// is_waiting[r] becomes 1 for those that say so.
int dtmpi_find_missing(dtmpi_comm *comm, double seconds, uint8_t *is_waiting);

/// Sums of 64 KiB and more are added pairwise, first over the ranks of a host that share memory, then over hosts.
int dtmpi_allreduce_sum_f32(dtmpi_comm *comm, float *values, size_t count);
int dtmpi_allreduce_sum_f64(dtmpi_comm *comm, double *values, size_t count);
int dtmpi_allreduce_sum_i64(dtmpi_comm *comm, int64_t *values, size_t count);
int dtmpi_allreduce_max_i64(dtmpi_comm *comm, int64_t *values, size_t count);
int dtmpi_allreduce_min_i64(dtmpi_comm *comm, int64_t *values, size_t count);
int dtmpi_broadcast(dtmpi_comm *comm, void *bytes, size_t count, int root);
/// `gathered` takes size × count bytes.
int dtmpi_allgather(dtmpi_comm *comm, const void *bytes, size_t count, void *gathered);
/// Part k of `parts`, `count` bytes, goes to rank k; `received` collects the parts for this rank, in rank order. Neither may
/// overlap the other.
int dtmpi_alltoall(dtmpi_comm *comm, const void *parts, size_t count, void *received);
/// Ranks of one colour form a group, ordered by key; colour −1: *part becomes NULL.
int dtmpi_split(dtmpi_comm *comm, int colour, int key, dtmpi_comm **part);

/// Elements that the two functions below take at a time.
enum { DTMPI_HOST_SUM_COUNT = 1 << 19 };
/// The first level of a sum: the elements from *start on, *own of them, become their sums over the ranks of this host that share
/// memory, and each of these gets others. Ranks that share none get all elements as they are.
int dtmpi_host_reduce_scatter(dtmpi_comm *comm, float *values, size_t count, size_t *start, size_t *own);
/// All ranks of the host get what each has made of its elements.
int dtmpi_host_all_gather(dtmpi_comm *comm, float *values, size_t count);
/// *part becomes the group of those that dtmpi_host_reduce_scatter gives the same elements, one on each host, or NULL for a rank
/// that never gets any. Once a communicator.
int dtmpi_across_hosts(dtmpi_comm *comm, dtmpi_comm **part);

/// Tags are 0 ..< DTMPI_TAG_LIMIT.
enum { DTMPI_TAG_LIMIT = 32000 };
/// Sender: waits until `destination` is ready to receive `tag`.
int dtmpi_await_receiver(dtmpi_comm *comm, int destination, int tag, double seconds);
int dtmpi_send(dtmpi_comm *comm, const void *bytes, size_t count, int destination, int tag);
/// Receiver: says that it is ready for `tag` and waits until the message begins to come. `first_count` becomes the
/// length of its first part: all of it, unless it is longer than the largest count.
int dtmpi_await_sender(dtmpi_comm *comm, int source, int tag, double seconds, size_t *first_count);
int dtmpi_receive(dtmpi_comm *comm, void *bytes, size_t count, int source, int tag);

/// The length of the parts that long buffers are split into: INT_MAX; a test sets less.
void dtmpi_set_largest_count(size_t count);
/// The length of the first part of a message of `count` bytes.
size_t dtmpi_first_count(size_t count);

/// From any thread: whichever wait is under way, now or later, calls MPI_Abort(code).
void dtmpi_request_abort(int code);
/// Calls MPI_Abort(code) on this thread. It does not return while MPI works.
void dtmpi_abort(int code);
