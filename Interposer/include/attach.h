/*
 * The calls by which heaprun starts and ends a recording in a program that runs already: each is made in one of its
 * threads, stopped for that (Sources/CAttach). Exported under these names; both sides have this header.
 */
#ifndef HEAPSUM_ATTACH_H
#define HEAPSUM_ATTACH_H

#include <stdint.h>

#define HEAPSUM_ATTACH_VERSION 1u

enum heapsum_attach_result {
    HEAPSUM_ATTACH_DONE = 1,
    HEAPSUM_ATTACH_RECORDED = 2, /* the process is recorded already; or, to end: it isn't */
    HEAPSUM_ATTACH_REFUSED = 3,  /* not glibc, or options forbid it */
    HEAPSUM_ATTACH_NO_IMAGE = 4, /* no place for an image */
    HEAPSUM_ATTACH_OTHER = 5,    /* another version of heapsum is in the process */
};

/* What is answered, in memory that the caller gives. */
struct heapsum_attach_answer {
    uint32_t version;                           /* in: the caller's HEAPSUM_ATTACH_VERSION */
    uint32_t result;                            /* enum heapsum_attach_result; 0: the call did not come to its end */
    uint64_t modules, entries, refused, passed; /* as in redirect.h */
    uint64_t image, image_bytes;                /* where the image is mapped */
};

/*
 * heapsum_attach(settings, answer): starts recording, with the settings of the environment's form, a NUL behind each
 * and another at the end. heapsum_detach(answer): ends it. Each keeps errno, and allocates nothing from the program's
 * allocator.
 */

#endif
