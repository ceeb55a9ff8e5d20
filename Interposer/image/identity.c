/*
 * Which process an image belongs to. Read from /proc with a descriptor that is closed before the program's code runs.
 * What can't be read stays zero ("not known"); recording goes on.
 */
#include "image/identity.h"

#include <string.h>

#include "base/loader.h"
#include "base/next.h"
#include "base/options.h"
#include "base/system.h"
#include "image/image.h"

size_t decimal(char *to, uint64_t number) {
    char digits[20];
    size_t count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    for (size_t i = 0; i < count; i++) to[i] = digits[count - 1 - i];
    return count;
}

/* Reads at most `room` bytes of a file in /proc. Returns how many; 0 if it can't be read. */
/* Reads an open file to its end or as far as there is room, and closes it. */
static size_t read_file(int fd, char *to, size_t room) {
    if (fd < 0) return 0;
    size_t have = 0;
    long got;
    while (have < room && (got = system_read(fd, to + have, room - have)) > 0) have += (size_t)got;
    system_close(fd);
    return have;
}

/* Field 22 of /proc/self/stat. Field 2, the program's name, may contain anything, so counting starts after its last
 * ')'. */
static uint64_t start_time(void) {
    static char buffer[1024]; /* one image is made at a time */
    /* of the process: a thread has a start of its own */
    size_t length = read_file(system_open("/proc/self/stat", O_RDONLY | O_CLOEXEC, 0), buffer, sizeof buffer - 1);
    buffer[length] = '\0';
    const char *at = strrchr(buffer, ')');
    if (at == NULL) return 0;
    for (int field = 2; field < 22; field++) {
        at = strchr(at, ' ');
        if (at == NULL) return 0;
        at++;
    }
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static void boot_id(uint8_t id[16]) {
    char text[40];
    int fd = system_open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC, 0);
    size_t length = read_file(fd, text, sizeof text), digits = 0;
    memset(id, 0, 16);
    for (size_t i = 0; i < length && digits < 32; i++) {
        char c = text[i];
        int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value < 0) continue;
        id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | value);
        digits++;
    }
}

void identity_fill(struct heap_header *header) {
    header->pid = system_process();
    header->parent_pid = system_parent();
    header->start_time = start_time();
    boot_id(header->boot_id);
    header->started_realtime_ns = system_nanoseconds(CLOCK_REALTIME);
    /* to the nanosecond: it orders the images of one process */
    header->started_monotonic_ns = system_nanoseconds(CLOCK_MONOTONIC);
}

void identity_strings(struct heap_header *header) {
    static char arguments[16384]; /* one image is made at a time; longer command lines are cut */
    size_t length = read_file(system_open_own("cmdline"), arguments, sizeof arguments);
    while (length > 0 && arguments[length - 1] == '\0') length--;
    header->program = image_string(options.program, strlen(options.program));
    header->arguments = image_string(arguments, length);
    const char *allocator = loader_path_of((uintptr_t)next.malloc);
    if (allocator != NULL) header->allocator = image_string(allocator, strlen(allocator));
}

bool identity_name(char *name, size_t room, unsigned number) {
    size_t at = strlen(options.name);
    if (at + 40 > room) return false;
    memcpy(name, options.name, at);
    name[at++] = '.';
    at += decimal(name + at, system_process());
    if (number > 1) {
        name[at++] = '-';
        at += decimal(name + at, number);
    }
    memcpy(name + at, ".heap", 6);
    return true;
}

void identity_granules(uint8_t granule_log2[HEAP_MAP_COUNT]) {
    granule_log2[0] = next.is_glibc ? HEAP_GRANULE_LOG2_FINE_GLIBC : HEAP_GRANULE_LOG2_FINE_OTHER;
    granule_log2[1] = HEAP_GRANULE_LOG2_1;
    granule_log2[2] = HEAP_GRANULE_LOG2_2;
    granule_log2[3] = HEAP_GRANULE_LOG2_3;
    granule_log2[4] = HEAP_GRANULE_LOG2_4;
}
