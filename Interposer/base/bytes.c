/*
 * The functions of <string.h> that the library uses or that compilers call implicitly. They are hidden, so that the
 * library never calls a function of that name from the program, another preload or a sanitizer. They handle small
 * inputs and are not tuned.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/machine.h"

/* Keeps the compiler from turning a loop in here into a call of the function that contains it. */
static inline void plainly(void) { __asm__ volatile("" ::: "memory"); }

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    machine_copy(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if ((uintptr_t)t - (uintptr_t)f >= bytes) return memcpy(to, from, bytes);
    for (; bytes > 0; plainly()) bytes--, t[bytes] = f[bytes];
    return to;
}

void *memset(void *to, int value, size_t bytes) {
    machine_fill(to, value, bytes);
    return to;
}

int memcmp(const void *one, const void *other, size_t bytes) {
    const uint8_t *a = one, *b = other;
    for (; bytes > 0; bytes--, a++, b++, plainly())
        if (*a != *b) return *a - *b;
    return 0;
}

/* Clang calls this instead of memcmp if only equality matters. */
int bcmp(const void *one, const void *other, size_t bytes) { return memcmp(one, other, bytes); }

void *memchr(const void *in, int value, size_t bytes) {
    for (const uint8_t *at = in; bytes > 0; bytes--, at++, plainly())
        if (*at == (uint8_t)value) return (void *)at;
    return NULL;
}

void *memmem(const void *in, size_t bytes, const void *wanted, size_t wanted_bytes) {
    for (const uint8_t *at = in; bytes >= wanted_bytes; bytes--, at++)
        if (memcmp(at, wanted, wanted_bytes) == 0) return (void *)at;
    return NULL;
}

size_t strlen(const char *text) {
    size_t length = 0;
    for (; text[length] != '\0'; plainly()) length++;
    return length;
}

size_t strnlen(const char *text, size_t most) {
    size_t length = 0;
    for (; length < most && text[length] != '\0'; plainly()) length++;
    return length;
}

char *strchr(const char *text, int value) {
    for (;; text++, plainly()) {
        if (*text == (char)value) return (char *)text;
        if (*text == '\0') return NULL;
    }
}

char *strrchr(const char *text, int value) {
    const char *last = NULL;
    for (;; text++, plainly()) {
        if (*text == (char)value) last = text;
        if (*text == '\0') return (char *)last;
    }
}

int strcmp(const char *one, const char *other) {
    for (; *one == *other && *one != '\0'; one++, other++, plainly()) {}
    return (unsigned char)*one - (unsigned char)*other;
}

int strncmp(const char *one, const char *other, size_t most) {
    for (; most > 0; most--, one++, other++, plainly()) {
        if (*one != *other) return (unsigned char)*one - (unsigned char)*other;
        if (*one == '\0') return 0;
    }
    return 0;
}

size_t strcspn(const char *text, const char *stops) {
    size_t length = 0;
    while (text[length] != '\0' && strchr(stops, text[length]) == NULL) length++;
    return length;
}
