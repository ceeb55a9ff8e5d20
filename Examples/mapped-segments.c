// A spool that keeps messages in segments of 8 MB, which it maps itself: malloc has nearly nothing, and the process is
// large. A segment is unmapped when every subscriber has read it. One subscriber leaves, and its place in the list
// stays: from then on no segment is unmapped any more.
//
//   mapped-segments SECONDS [MEGABYTES]      how much is spooled: 256
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SEGMENT_BYTES = 8 << 20, MESSAGE_BYTES = 4096, SUBSCRIBERS = 3 };

struct segment {
    struct segment *next;
    uint64_t number;
    size_t used;
    char messages[];
};

static struct segment *oldest, *newest;
static uint64_t segments;
static uint64_t reads[SUBSCRIBERS]; // the segment that each subscriber reads

__attribute__((noinline)) static struct segment *map_segment(uint64_t number) {
    struct segment *segment = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (segment == MAP_FAILED) abort();
    segment->number = number;
    segment->used = sizeof *segment;
    return segment;
}

__attribute__((noinline)) static void unmap_read_segments(void) {
    uint64_t first = UINT64_MAX;
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (reads[i] < first) first = reads[i];
    while (oldest != newest && oldest->number < first) {
        struct segment *segment = oldest;
        oldest = oldest->next;
        munmap(segment, SEGMENT_BYTES);
    }
}

__attribute__((noinline)) static void spool_message(const char *text) {
    if (newest == NULL || newest->used + MESSAGE_BYTES > SEGMENT_BYTES) {
        struct segment *segment = map_segment(segments++);
        if (newest != NULL) newest->next = segment;
        else oldest = segment;
        newest = segment;
        unmap_read_segments();
    }
    char *place = (char *)newest + newest->used;
    memset(place, ' ', MESSAGE_BYTES);
    strncpy(place, text, MESSAGE_BYTES - 1);
    newest->used += MESSAGE_BYTES;
}

int main(int count, char **arguments) {
    unsigned seconds = count > 1 ? (unsigned)atoi(arguments[1]) : 0;
    uint64_t megabytes = count > 2 ? strtoull(arguments[2], NULL, 10) : 256;
    char *text = malloc(100);
    if (!text) abort();
    for (uint64_t i = 0; i < (megabytes << 20) / MESSAGE_BYTES; i++) {
        snprintf(text, 100, "message %llu", (unsigned long long)i);
        spool_message(text);
        for (int who = 0; who < SUBSCRIBERS; who++)
            if (who != 1 || i < 1000) reads[who] = newest->number; // number 1 has left
    }
    printf("spooled %llu MB\n", (unsigned long long)megabytes);
    fflush(stdout);
    sleep(seconds);
    free(text);
    return 0;
}
