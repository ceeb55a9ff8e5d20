/*
 * The calls by which heaprun starts and ends a recording in a program that is already running. heaprun makes each call
 * in one of the program's threads, which it stops for that (Sources/CAttach). The library exports them under these
 * names. Both sides include this header.
 */
#ifndef HEAPSUM_ATTACH_H
#define HEAPSUM_ATTACH_H

#include <stdint.h>

#define HEAPSUM_ATTACH_VERSION 1u

enum heapsum_attach_result {
    HEAPSUM_ATTACH_DONE = 1,
    HEAPSUM_ATTACH_RECORDED = 2, /* the process is already recorded; for heapsum_detach: it isn't */
    HEAPSUM_ATTACH_REFUSED = 3,  /* not glibc, or options forbid it */
    HEAPSUM_ATTACH_NO_IMAGE = 4, /* no image could be made */
    HEAPSUM_ATTACH_OTHER = 5,    /* the process has another version of heapsum loaded */
};

/* The answer, in memory that the caller provides. */
struct heapsum_attach_answer {
    uint32_t version;                           /* in: the caller's HEAPSUM_ATTACH_VERSION */
    uint32_t result;                            /* enum heapsum_attach_result; 0: the call did not finish */
    uint64_t modules, entries, refused, passed; /* as in redirect.h */
    uint64_t image, image_bytes;                /* where the image is mapped */
};

/*
 * heapsum_attach(settings, answer) starts recording. Settings have the environment's form (NAME=value), each ends with
 * a NUL, and one more NUL ends the list. heapsum_detach(answer) ends the recording. Both keep errno and allocate
 * nothing from the program's allocator.
 */

#endif
