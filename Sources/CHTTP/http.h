/*
 * One HTTP POST by libcurl. libcurl is not linked, but opened by dlopen when something is to be sent: so the tools
 * start without it, and run where it isn't installed. Only what its interface has promised never to change is used:
 * numbers of options and these functions (https://curl.se/libcurl/abi.html), so no header is needed to build.
 *
 * All policy is in Swift; nothing here keeps state.
 */
#ifndef HEAPSUM_HTTP_H
#define HEAPSUM_HTTP_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* curl.h: CURLOPT_ and CURLINFO_ numbers. */
enum {
    HTTP_WRITEDATA = 10001,
    HTTP_URL = 10002,
    HTTP_ERRORBUFFER = 10010,
    HTTP_POSTFIELDS = 10015,
    HTTP_USERAGENT = 10018,
    HTTP_HTTPHEADER = 10023,
    HTTP_WRITEFUNCTION = 20011,
    HTTP_POST = 47,
    HTTP_NOSIGNAL = 99,
    HTTP_TIMEOUT_MS = 155,
    HTTP_CONNECTTIMEOUT_MS = 156,
    HTTP_PROTOCOLS = 181,
    HTTP_POSTFIELDSIZE_LARGE = 30120,
    HTTP_RESPONSE_CODE = 0x200002,
    HTTP_GLOBAL_ALL = 3,
    HTTP_AND_HTTPS = 3,
    HTTP_ERROR_SIZE = 256
};

struct http_list;

struct http_functions {
    int (*global_init)(long flags);
    void *(*easy_init)(void);
    void (*easy_cleanup)(void *handle);
    int (*easy_setopt)(void *handle, int option, ...);
    int (*easy_perform)(void *handle);
    int (*easy_getinfo)(void *handle, int information, ...);
    const char *(*easy_strerror)(int code);
    struct http_list *(*list_append)(struct http_list *list, const char *text);
    void (*list_free)(struct http_list *list);
};

/* Fills in the functions. Returns NULL, or dlerror's text. */
static inline const char *http_load(struct http_functions *out) {
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return dlerror();
#define HTTP_LOOK_UP(member, name) \
    if ((out->member = (__typeof__(out->member))dlsym(library, #name)) == NULL) return dlerror();
    HTTP_LOOK_UP(global_init, curl_global_init)
    HTTP_LOOK_UP(easy_init, curl_easy_init)
    HTTP_LOOK_UP(easy_cleanup, curl_easy_cleanup)
    HTTP_LOOK_UP(easy_setopt, curl_easy_setopt)
    HTTP_LOOK_UP(easy_perform, curl_easy_perform)
    HTTP_LOOK_UP(easy_getinfo, curl_easy_getinfo)
    HTTP_LOOK_UP(easy_strerror, curl_easy_strerror)
    HTTP_LOOK_UP(list_append, curl_slist_append)
    HTTP_LOOK_UP(list_free, curl_slist_free_all)
#undef HTTP_LOOK_UP
    return NULL;
}

/* What the other side said. `bytes` has room for `room` bytes; what doesn't fit is dropped. */
struct http_answer {
    char *bytes;
    size_t room, count;
    long status;
    char error[HTTP_ERROR_SIZE]; /* of libcurl, in words */
};

static size_t http_take(const char *bytes, size_t size, size_t count, void *answer) {
    struct http_answer *to = (struct http_answer *)answer;
    size_t taken = size * count < to->room - to->count ? size * count : to->room - to->count;
    memcpy(to->bytes + to->count, bytes, taken);
    to->count += taken;
    return size * count;
}

/*
 * Posts a body, and waits at most `milliseconds` for all of it. Redirections are not followed. Returns 0 if there was
 * an answer, whatever its status; else a code of libcurl's, with the reason in `answer->error`.
 */
static inline int http_post(const struct http_functions *curl, void *handle, const char *url, struct http_list *headers,
    const char *agent, const uint8_t *body, size_t count, long milliseconds, struct http_answer *answer) {
    answer->count = 0;
    answer->status = 0;
    answer->error[0] = 0;
    curl->easy_setopt(handle, HTTP_URL, url);
    curl->easy_setopt(handle, HTTP_PROTOCOLS, (long)HTTP_AND_HTTPS);
    curl->easy_setopt(handle, HTTP_NOSIGNAL, 1L);
    curl->easy_setopt(handle, HTTP_TIMEOUT_MS, milliseconds);
    curl->easy_setopt(handle, HTTP_CONNECTTIMEOUT_MS, milliseconds);
    curl->easy_setopt(handle, HTTP_USERAGENT, agent);
    curl->easy_setopt(handle, HTTP_HTTPHEADER, headers);
    curl->easy_setopt(handle, HTTP_POST, 1L);
    curl->easy_setopt(handle, HTTP_POSTFIELDS, (const char *)body);
    curl->easy_setopt(handle, HTTP_POSTFIELDSIZE_LARGE, (int64_t)count);
    curl->easy_setopt(handle, HTTP_WRITEFUNCTION, &http_take);
    curl->easy_setopt(handle, HTTP_WRITEDATA, (void *)answer);
    curl->easy_setopt(handle, HTTP_ERRORBUFFER, answer->error);
    int code = curl->easy_perform(handle);
    curl->easy_setopt(handle, HTTP_ERRORBUFFER, (char *)0);
    if (code == 0) {
        curl->easy_getinfo(handle, HTTP_RESPONSE_CODE, &answer->status);
    } else if (answer->error[0] == 0) {
        strncpy(answer->error, curl->easy_strerror(code), HTTP_ERROR_SIZE - 1);
        answer->error[HTTP_ERROR_SIZE - 1] = 0;
    }
    return code;
}

/* Calls through the structure, which Swift can't make. */
static inline void *http_begin(const struct http_functions *curl) {
    return curl->global_init(HTTP_GLOBAL_ALL) == 0 ? curl->easy_init() : NULL;
}

#endif
