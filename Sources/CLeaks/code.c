/* Finds instructions that a process has anyway, for calls that it is made to do. */
#include <string.h>

#include "leaks.h"

#if defined(__aarch64__)
#define ALIGNMENT 4u
static const uint8_t system_call[] = {0x01, 0, 0, 0xD4, 0xC0, 0x03, 0x5F, 0xD6};   /* svc #0; ret */
static const uint8_t signal_return[] = {0x68, 0x11, 0x80, 0xD2, 0x01, 0, 0, 0xD4}; /* mov x8, #139; svc #0 */
#else
#define ALIGNMENT 1u
static const uint8_t system_call[] = {0x0F, 0x05, 0xC3};                              /* syscall; ret */
static const uint8_t signal_return[] = {0x48, 0xC7, 0xC0, 0x0F, 0, 0, 0, 0x0F, 0x05}; /* mov $15, %rax; syscall */
#endif

static uint64_t find(const uint8_t *bytes, size_t count, uint64_t start, const uint8_t *code, size_t length) {
    const uint8_t *at = bytes, *end = bytes + count;
    while ((at = memmem(at, (size_t)(end - at), code, length)) != NULL) {
        const size_t offset = (size_t)(at - bytes);
        if (offset % ALIGNMENT == 0) return start + offset;
        at++;
    }
    return 0;
}

struct leaks_code leaks_find_code(const uint8_t *bytes, size_t count, uint64_t start) {
    return (struct leaks_code){find(bytes, count, start, system_call, sizeof system_call),
        find(bytes, count, start, signal_return, sizeof signal_return)};
}
