/* See traced.h. */
#define _GNU_SOURCE
#include "traced.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#ifdef MODEL
#define TLS_MODEL __attribute__((tls_model(MODEL)))
#else
#define TLS_MODEL
#endif

/* Another variable before it, so that it is not at the block's start everywhere. A large one makes the block so large
 * that the loader gives it no place beside the program's. */
#ifdef OTHER
__attribute__((visibility("default"))) __thread char traced_other[OTHER] = "another thread-local variable";
#endif
__attribute__((visibility("default"))) TLS_MODEL __thread struct traced_record *otel_thread_ctx_v1;

static void attach(struct traced_record *record) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    *(struct traced_record *volatile *)&otel_thread_ctx_v1 = record;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
static struct traced_record *attached(void) { return otel_thread_ctx_v1; }

/* ---- The process context ---------------------------------------------------------------------------------- */

struct header {
    char signature[8];
    uint32_t version, payload_bytes;
    uint64_t published;
    const void *payload;
};

static volatile struct header *header;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void publish_bytes(const void *payload, uint32_t bytes) {
    static char room[8][8192]; /* an earlier payload may still be read */
    static int next;
    char *copy = room[next++ % 8];
    memcpy(copy, payload, bytes < sizeof room[0] ? bytes : sizeof room[0]);
    if (header != NULL) {
        header->published = 0;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        header->payload = copy;
        header->payload_bytes = bytes;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        header->published = now();
    } else {
        int fd = memfd_create("OTEL_CTX", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, 4096) != 0) abort();
        header = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        if (header == MAP_FAILED) abort();
        close(fd);
        madvise((void *)header, 4096, MADV_DONTFORK);
        header->version = 2;
        header->payload_bytes = bytes;
        header->payload = copy;
        header->published = now();
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        memcpy((void *)header->signature, "OTEL_CTX", 8);
    }
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, header, 4096, "OTEL_CTX");
}

static void withdraw(void) {
    if (header != NULL) munmap((void *)header, 4096);
    header = NULL;
}

/* Protobuf, written from the end: so each length is known when it is written. */
struct output {
    uint8_t bytes[8192];
    uint32_t start;
};
static void put_number(struct output *out, uint64_t number) {
    uint8_t digits[10];
    int count = 0;
    do {
        digits[count++] = (uint8_t)((number & 0x7F) | (number > 0x7F ? 0x80 : 0));
        number >>= 7;
    } while (number != 0);
    out->start -= (uint32_t)count;
    memcpy(out->bytes + out->start, digits, (size_t)count);
}
static void put_field(struct output *out, int number, uint32_t end) {
    put_number(out, end - out->start);
    put_number(out, (uint64_t)number << 3 | 2);
}
static void put_text(struct output *out, int number, const char *text) {
    const uint32_t end = out->start, length = (uint32_t)strlen(text);
    out->start -= length;
    memcpy(out->bytes + out->start, text, length);
    put_field(out, number, end);
}

static void publish(const char *schema, const char *const *names, int count) {
    static struct output out;
    uint32_t end, value, array;
    out.start = sizeof out.bytes;
    end = value = array = out.start;
    for (int i = count; i-- > 0;) {
        const uint32_t each = out.start;
        put_text(&out, 1, names[i]); /* AnyValue.string_value */
        put_field(&out, 1, each);    /* ArrayValue.values */
    }
    put_field(&out, 5, array); /* AnyValue.array_value */
    put_field(&out, 2, value); /* KeyValue.value */
    put_text(&out, 1, "threadlocal.attribute_key_map");
    put_field(&out, 2, end); /* ProcessContext.attributes */
    end = out.start;
    put_text(&out, 1, schema);
    put_field(&out, 2, end);
    put_text(&out, 1, "threadlocal.schema_version");
    put_field(&out, 2, end);
    end = out.start; /* a resource, whose attributes don't count */
    put_text(&out, 1, "http.route");
    put_field(&out, 2, end);
    put_text(&out, 1, "service.name");
    put_field(&out, 1, end);
    put_field(&out, 1, end);
    publish_bytes(out.bytes + out.start, (uint32_t)sizeof out.bytes - out.start);
}

__attribute__((visibility("default"))) const struct traced_writer *traced_writer(void) {
    static const struct traced_writer writer = {publish, publish_bytes, withdraw, attach, attached};
    return &writer;
}
