/* Writes nonsense into its own image, where the recorder keeps count of a thread's events: a recorder that looks must
 * see it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/heap_image.h"

static struct heap_header *find_image(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long start = 0;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, ".heap\n") != NULL && sscanf(line, "%lx", &start) == 1) break;
    if (maps != NULL) fclose(maps);
    return (struct heap_header *)start;
}

void *volatile kept;
int main(void) {
    kept = malloc(10);
    struct heap_header *header = find_image();
    if (header != NULL) {
        const struct heap_section *threads = &header->sections[HEAP_SECTION_THREADS];
        struct heap_thread *records = (struct heap_thread *)((char *)header + threads->offset);
        for (uint64_t i = 0; i < threads->used; i++) records[i].folded = records[i].head + 7;
    }
    kept = malloc(20);
    return 0;
}
