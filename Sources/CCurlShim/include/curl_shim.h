#pragma once
// One transfer of one file through libcurl, without libcurl's variadic functions and macros, which Swift cannot import.
//
// The library is loaded with the first transfer and not with the program: with all that it needs itself (TLS, LDAP,
// Kerberos and some twenty more) it would cost every rank of every run its time to start.
#include <stddef.h>
#include <stdint.h>

/// How a transfer has ended.
typedef enum {
    DT_TRANSFER_DONE,
    DT_TRANSFER_NO_LIBRARY,       // libcurl cannot be loaded
    DT_TRANSFER_ADDRESS,          // no address, or not one of http, https, file
    DT_TRANSFER_HOST_NOT_FOUND,   // of the server or of the proxy
    DT_TRANSFER_NO_CONNECTION,    // refused, or no route
    DT_TRANSFER_TLS,              // no agreement, or a certificate that cannot be trusted
    DT_TRANSFER_TIMEOUT,          // no connection in time, or no bytes for too long
    DT_TRANSFER_CUT,              // the connection ended before the file did
    DT_TRANSFER_STATUS,           // an HTTP status of 400 and above
    DT_TRANSFER_REDIRECTS,        // too many
    DT_TRANSFER_NO_SUCH_FILE,     // of a file address
    DT_TRANSFER_RANGE,            // the file has no such offset (HTTP 416 too)
    DT_TRANSFER_STOPPED,          // by begin or receive
    DT_TRANSFER_OTHER,
} dt_transfer_ending;

/// What is known of the file when its first bytes are there.
typedef struct {
    int64_t first_byte;  // the place in the file of the first byte that follows; 0 unless the server answers a range
    int64_t total;       // bytes of the whole file; -1 where the server does not say
} dt_transfer_response;

/// Who takes the bytes. Both functions return nonzero to stop the transfer.
typedef struct {
    void *context;
    /// Called once, before the first byte, and for an empty file too; not for an HTTP status of 400 and above.
    int (*begin)(void *context, dt_transfer_response response);
    int (*receive)(void *context, const void *bytes, size_t count);
} dt_transfer_sink;

typedef struct {
    dt_transfer_ending ending;
    long status;          // the last HTTP status; 0 where there was none
    char message[256];    // libcurl's own words; empty where it has none
} dt_transfer_result;

/// Fetches `address` from byte `offset` on. Follows up to ten redirects (to http and https alone), honours the proxy
/// variables of the environment, verifies certificates. Waits at most `connect_seconds` for a connection and
/// `stall_seconds` while no byte comes. Blocks; any number of threads may call it at the same time.
dt_transfer_result dt_transfer(
    const char *address, int64_t offset, long connect_seconds, long stall_seconds, dt_transfer_sink sink);
