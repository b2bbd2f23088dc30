#include "curl_shim.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/// The functions of libcurl that are used, as its header declares them.
static struct {
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_easy_init) *init;
    __typeof__(curl_easy_setopt) *setopt;
    __typeof__(curl_easy_perform) *perform;
    __typeof__(curl_easy_getinfo) *getinfo;
    __typeof__(curl_easy_strerror) *strerror;
    __typeof__(curl_easy_cleanup) *cleanup;
    bool loaded;
} curl;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void load_curl(void) {
    // The second is Debian's build over GnuTLS, with the same interface.
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    curl.global_init = dlsym(library, "curl_global_init");
    curl.init = dlsym(library, "curl_easy_init");
    curl.setopt = dlsym(library, "curl_easy_setopt");
    curl.perform = dlsym(library, "curl_easy_perform");
    curl.getinfo = dlsym(library, "curl_easy_getinfo");
    curl.strerror = dlsym(library, "curl_easy_strerror");
    curl.cleanup = dlsym(library, "curl_easy_cleanup");
    curl.loaded = curl.global_init && curl.init && curl.setopt && curl.perform && curl.getinfo && curl.strerror &&
                  curl.cleanup && curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

/// A transfer on its way.
typedef struct {
    CURL *handle;
    dt_transfer_sink sink;
    int64_t offset;
    bool begun;
    bool stopped;
    // Content-Range of the response that is being read; -1 where it has not been said.
    int64_t range_first, range_total;
} transfer;

static long http_status(const transfer *t) {
    long status = 0;
    curl.getinfo(t->handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static bool begin(transfer *t) {
    long status = http_status(t);
    curl_off_t length = -1;
    curl.getinfo(t->handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    dt_transfer_response response = {.first_byte = 0, .total = length};
    if (status == 206) {
        response.first_byte = t->range_first;
        response.total = t->range_total;
    } else if (status == 0) {  // a file address: libcurl starts at the offset
        response.first_byte = t->offset;
        response.total = length < 0 ? -1 : t->offset + length;
    }
    t->begun = true;
    t->stopped = t->sink.begin(t->sink.context, response) != 0;
    return !t->stopped;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context) {
    transfer *t = context;
    if (!t->begun && !begin(t)) return 0;
    if (t->sink.receive(t->sink.context, bytes, size * count) != 0) {
        t->stopped = true;
        return 0;
    }
    return size * count;
}

/// `Content-Range: bytes 100-199/200` (RFC 9110, section 14.4); a new status line begins a new response.
static size_t take_header(char *bytes, size_t size, size_t count, void *context) {
    transfer *t = context;
    char line[160];
    size_t length = size * count < sizeof line - 1 ? size * count : sizeof line - 1;
    memcpy(line, bytes, length);
    line[length] = 0;
    if (strncmp(line, "HTTP/", 5) == 0) {
        t->range_first = t->range_total = -1;
    } else if (strncasecmp(line, "content-range:", 14) == 0) {
        long long first, last, total;
        if (sscanf(line + 14, " bytes %18lld-%18lld/%18lld", &first, &last, &total) == 3 && first >= 0 &&
            first <= last && last < total) {
            t->range_first = first;
            t->range_total = total;
        } else if (sscanf(line + 14, " bytes %18lld-%18lld/*", &first, &last) == 2 && first >= 0) {
            t->range_first = first;
        }
    }
    return size * count;
}

static dt_transfer_ending ending(CURLcode code, const transfer *t, long status) {
    if (t->stopped) return DT_TRANSFER_STOPPED;
    switch (code) {
    case CURLE_OK: return DT_TRANSFER_DONE;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT: return DT_TRANSFER_ADDRESS;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return DT_TRANSFER_HOST_NOT_FOUND;
    case CURLE_COULDNT_CONNECT: return DT_TRANSFER_NO_CONNECTION;
    case CURLE_HTTP_RETURNED_ERROR: return status == 416 ? DT_TRANSFER_RANGE : DT_TRANSFER_STATUS;
    case CURLE_OPERATION_TIMEDOUT: return DT_TRANSFER_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS: return DT_TRANSFER_TLS;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return DT_TRANSFER_CUT;
    case CURLE_TOO_MANY_REDIRECTS: return DT_TRANSFER_REDIRECTS;
    case CURLE_FILE_COULDNT_READ_FILE: return DT_TRANSFER_NO_SUCH_FILE;
    case CURLE_RANGE_ERROR:
    case CURLE_BAD_DOWNLOAD_RESUME: return DT_TRANSFER_RANGE;
    default: return DT_TRANSFER_OTHER;
    }
}

dt_transfer_result dt_transfer(
    const char *address, int64_t offset, long connect_seconds, long stall_seconds, dt_transfer_sink sink) {
    dt_transfer_result result = {.ending = DT_TRANSFER_NO_LIBRARY};
    pthread_once(&curl_once, load_curl);
    if (!curl.loaded) return result;
    transfer t = {
        .handle = curl.init(), .sink = sink, .offset = offset, .range_first = -1, .range_total = -1};
    if (!t.handle) return result;

    curl.setopt(t.handle, CURLOPT_URL, address);
    curl.setopt(t.handle, CURLOPT_ERRORBUFFER, result.message);
    curl.setopt(t.handle, CURLOPT_USERAGENT, "dtrain");
    curl.setopt(t.handle, CURLOPT_NOSIGNAL, 1L);
    curl.setopt(t.handle, CURLOPT_FAILONERROR, 1L);
    curl.setopt(t.handle, CURLOPT_FOLLOWLOCATION, 1L);
    curl.setopt(t.handle, CURLOPT_MAXREDIRS, 10L);
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
    // Their successors, which take names, came with libcurl 7.85; Ubuntu 22.04 has 7.81.
    curl.setopt(t.handle, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS | CURLPROTO_FILE));
    curl.setopt(t.handle, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#pragma clang diagnostic pop
    curl.setopt(t.handle, CURLOPT_CONNECTTIMEOUT, connect_seconds);
    curl.setopt(t.handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl.setopt(t.handle, CURLOPT_LOW_SPEED_TIME, stall_seconds);
    curl.setopt(t.handle, CURLOPT_WRITEFUNCTION, take_body);
    curl.setopt(t.handle, CURLOPT_WRITEDATA, &t);
    curl.setopt(t.handle, CURLOPT_HEADERFUNCTION, take_header);
    curl.setopt(t.handle, CURLOPT_HEADERDATA, &t);
    char range[32];
    if (offset > 0) {
        // Not CURLOPT_RESUME_FROM, which takes a server's whole file for an error: it is welcome.
        snprintf(range, sizeof range, "%lld-", (long long)offset);
        curl.setopt(t.handle, CURLOPT_RANGE, range);
    }

    CURLcode code = curl.perform(t.handle);
    result.status = http_status(&t);
    if (code == CURLE_OK && !t.begun) begin(&t);  // an empty file
    result.ending = ending(code, &t, result.status);
    if (!result.message[0] && code != CURLE_OK) {
        snprintf(result.message, sizeof result.message, "%s", curl.strerror(code));
    }
    curl.cleanup(t.handle);
    return result;
}
