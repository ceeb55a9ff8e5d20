/*
 * The calls by which heaprun starts and ends a recording in a program that is already running. heaprun makes each call
 * in one of the program's threads, which it stops for that (Sources/CAttach). The library exports them under these
 * names. Both sides include this header.
 */
#ifndef HEAPSUM_INCLUDE_ATTACH_H
#define HEAPSUM_INCLUDE_ATTACH_H

#include <stdint.h>

#define HEAPSUM_ATTACH_VERSION 1u

enum heapsum_attach_result {
    HEAPSUM_ATTACH_DONE = 1,
    HEAPSUM_ATTACH_RECORDED = 2, /* the process is already recorded; for heapsum_detach: it isn't */
    HEAPSUM_ATTACH_REFUSED = 3,  /* not glibc, or options forbid it */
    HEAPSUM_ATTACH_NO_IMAGE = 4, /* no image could be made */
    HEAPSUM_ATTACH_OTHER = 5,    /* the process has another version of heapsum loaded */
    HEAPSUM_ATTACH_MIXED = 6,    /* two requests came at once */
    HEAPSUM_ATTACH_BUSY = 7,     /* threads may still be in a hook of the earlier recording */
    HEAPSUM_ATTACH_LOCKED = 8,   /* the program locks all memory that it maps, and would lock the whole image */
};

/* The answer, in memory that the caller provides. */
struct heapsum_attach_answer {
    uint32_t version;                           /* in: the caller's HEAPSUM_ATTACH_VERSION */
    uint32_t result;                            /* enum heapsum_attach_result; 0: the call did not finish */
    uint64_t modules, entries, refused, passed; /* as in redirect.h */
    uint64_t image, image_bytes;                /* where the image is mapped */
};

#define HEAPSUM_SETTINGS_BYTES 16384u

/*
 * The table `heapsum_control` of a dormant process (HEAPSUM_DORMANT=1). To start a recording, heaprun writes settings,
 * their sum and a new number into it, then `asked` over the word at `word`, if that holds `asleep` or 0. The process's
 * next call of an allocation function starts the recording, and answers.
 */
#define HEAPSUM_CONTROL_VERSION 1u
struct heapsum_control {
    uint32_t version;      /* 0: the process is not dormant */
    uint32_t may_be_asked; /* 0 while it records, and for good if it can't record */
    uint64_t word, asleep, asked;
    uint32_t settled;           /* written by heaprun: no thread is in a hook of the earlier recording any more */
    uint32_t request, answered; /* numbers of requests; heaprun's, and the last one that has an answer */
    uint32_t result;            /* enum heapsum_attach_result */
    uint64_t image;             /* where the image is mapped */
    uint64_t sum;               /* heapsum_control_sum of the settings and the request's number */
    uint64_t settings;          /* where they go: HEAPSUM_SETTINGS_BYTES, as heapsum_attach takes them */
};

/* FNV-1a of the settings, their last NUL included, and of the number: requests that two heapruns write at once don't
 * have it. */
static inline uint64_t heapsum_control_sum(const char *settings, uint32_t request) {
    uint64_t sum = 0xCBF29CE484222325u ^ request;
    for (uint32_t i = 0; i < HEAPSUM_SETTINGS_BYTES; i++) {
        sum = (sum ^ (uint8_t)settings[i]) * 0x100000001B3u;
        if (settings[i] == '\0' && (i + 1 == HEAPSUM_SETTINGS_BYTES || settings[i + 1] == '\0')) break;
    }
    return sum;
}

/*
 * heapsum_attach(settings, answer) starts recording. Settings have the environment's form (NAME=value), each ends with
 * a NUL, and one more NUL ends the list. heapsum_detach(answer) ends the recording. Both keep errno and allocate
 * nothing from the program's allocator.
 */

#endif
