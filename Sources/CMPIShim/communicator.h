#pragma once
// What the files of this module see of a communicator.
#include <mpi.h>
#include "host_memory.h"
#include "mpi_shim.h"

/// Ranks that exchange messages pairwise.
typedef struct {
    MPI_Comm comm;
    int rank, size;
} peer_group;

struct dtmpi_comm {
    peer_group all;
    MPI_Comm control;              // ready tokens and distress calls: they must not meet the user's messages
    int local_cores;               // on which the ranks of this host may run, all together
    int64_t sequence;
    MPI_Request arrival, token;
    int is_arriving, has_token;
    int64_t *distress;             // per rank: the arrival that it said it waits in
    MPI_Request *requests;         // of an exchange: one to and one from each other rank
    char *scratch;                 // what a sum receives
    size_t scratch_size;
    // Long sums go first over the ranks of a host that share memory, then across hosts.
    host_memory host;
    int first_sharing_rank;        // of the ranks whose memory this one sees, itself included
    int part_count;                // of each host's ranks so many form sums, each of another part of the elements
    peer_group across;             // those of this part, one on each host; none for a rank without a part
    size_t largest_sum;            // elements that go at a time
};

enum {
    DISTRESS_TAG = DTMPI_TAG_LIMIT,
    EXCHANGE_TAG,
    // Shorter sums and gathers are MPI's own: they are over before a rank could sleep.
    LEAST_EXCHANGE = 64 << 10,
};

#define TRY(call)                                   \
    do {                                            \
        int status_ = (call);                       \
        if (status_ != MPI_SUCCESS) return status_; \
    } while (0)

/// `group` becomes the ranks of `comm`, whose errors are returned from now on.
int dtmpi_make_group(MPI_Comm comm, peer_group *group);
/// Ends the job where dtmpi_request_abort has asked for it.
void dtmpi_abort_if_asked(void);
/// A sum, or another reduction, by MPI itself.
int dtmpi_reduce(dtmpi_comm *self, void *values, size_t count, size_t width, MPI_Datatype type, MPI_Op op);
/// Finds out which ranks share memory: `node` are those of this host, `first_rank` is the lowest of them. Where any host's
/// ranks do not, all ranks stay one level. Collective.
int dtmpi_find_levels(dtmpi_comm *self, MPI_Comm node, int first_rank);
