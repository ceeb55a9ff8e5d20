/*
 * Reading /proc/thread-self/maps byte by byte. A line is "start-end perms offset major:minor inode   path". In a path
 * the kernel escapes only a newline, as \012.
 */
#include "base/maps.h"

#include <string.h>

#include "base/system.h"

enum field { START, END, PERMISSIONS, OFFSET, MAJOR, MINOR, INODE, GAP, PATH };

/* The part of a line that has been read. */
struct line {
    struct mapping mapping;
    enum field field;
    size_t length; /* of the path so far, or of the permissions */
};

static uint32_t digit_of(char c) { return (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10); }

/* Reads one byte of a line. */
static void take(struct line *line, char c, char *path, size_t room) {
    struct mapping *mapping = &line->mapping;
    switch (line->field) {
        case START:
            if (c == '-') line->field = END;
            else mapping->start = mapping->start << 4 | digit_of(c);
            return;
        case END:
            if (c == ' ') line->field = PERMISSIONS;
            else mapping->end = mapping->end << 4 | digit_of(c);
            return;
        case PERMISSIONS:
            if (c == ' ') line->field = OFFSET;
            else if (c == 'r') mapping->readable = true;
            else if (c == 'x') mapping->executable = true;
            return;
        case OFFSET:
            if (c == ' ') line->field = MAJOR;
            return;
        case MAJOR:
            if (c == ':') line->field = MINOR;
            else mapping->device_major = mapping->device_major << 4 | digit_of(c);
            return;
        case MINOR:
            if (c == ' ') line->field = INODE;
            else mapping->device_minor = mapping->device_minor << 4 | digit_of(c);
            return;
        case INODE:
            if (c == ' ') line->field = GAP;
            else mapping->inode = mapping->inode * 10 + digit_of(c);
            return;
        case GAP:
            if (c == ' ') return;
            line->field = PATH;
            /* fall through */
        case PATH:
            if (path == NULL || line->length + 1 >= room) return;
            path[line->length++] = c;
            if (line->length >= 4 && memcmp(path + line->length - 4, "\\012", 4) == 0) {
                line->length -= 3;
                path[line->length - 1] = '\n';
            }
    }
}

bool maps_each(bool (*visit)(const struct mapping *mapping, void *context), void *context, char *path, size_t room) {
    int fd = system_may_look() ? system_open_own("maps") : -1;
    if (fd < 0) return false;
    char buffer[384];
    struct line line = {.field = START};
    bool done = false;
    long got;
    while (!done && ((got = system_read(fd, buffer, sizeof buffer)) > 0 || got == -EINTR))
        for (long i = 0; i < got && !done; i++) {
            if (buffer[i] != '\n') {
                take(&line, buffer[i], path, room);
                continue;
            }
            if (path != NULL) path[line.length] = '\0';
            done = visit(&line.mapping, context);
            line = (struct line){.field = START};
        }
    system_close(fd);
    return done || got == 0;
}

struct wanted {
    uintptr_t address;
    struct mapping *mapping;
    bool is_found;
};

static bool holds_wanted(const struct mapping *mapping, void *context) {
    struct wanted *wanted = context;
    if (wanted->address - mapping->start >= mapping->end - mapping->start) return false;
    *wanted->mapping = *mapping;
    return wanted->is_found = true;
}

bool maps_find(uintptr_t address, struct mapping *mapping, char *path, size_t room) {
    struct wanted wanted = {address, mapping, false};
    return maps_each(holds_wanted, &wanted, path, room) && wanted.is_found;
}
