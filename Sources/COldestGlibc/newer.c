/*
 * Swift's libraries may have been built under a newer glibc than the tools are: those that Debian has for AArch64 need
 * functions of 2.38. This file defines these few, hidden, so that no newer glibc is needed. Where Swift's libraries are
 * older, nothing calls them.
 */
#include <stdarg.h>
#include <stddef.h>

#define HIDDEN __attribute__((visibility("hidden")))

/*
 * C23's readers of numbers, which also take 0b. Swift reads its own environment variables by them: a number in binary
 * digits is none to the tools. No header here: in a newer one, the older names stand for these functions.
 */
extern long strtol(const char *text, char **end, int base);
extern long long strtoll(const char *text, char **end, int base);
extern unsigned long strtoul(const char *text, char **end, int base);
extern unsigned long long strtoull(const char *text, char **end, int base);
extern int __isoc99_vsscanf(const char *text, const char *format, va_list arguments);
HIDDEN long __isoc23_strtol(const char *text, char **end, int base) { return strtol(text, end, base); }
HIDDEN long long __isoc23_strtoll(const char *text, char **end, int base) { return strtoll(text, end, base); }
HIDDEN unsigned long __isoc23_strtoul(const char *text, char **end, int base) { return strtoul(text, end, base); }
HIDDEN unsigned long long __isoc23_strtoull(const char *text, char **end, int base) {
    return strtoull(text, end, base);
}
HIDDEN int __isoc23_sscanf(const char *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int count = __isoc99_vsscanf(text, format, arguments);
    va_end(arguments);
    return count;
}

/* Copies what fits into `room` bytes with a 0 at the end, and says how long the text is. */
HIDDEN size_t strlcpy(char *out, const char *text, size_t room) {
    size_t length = 0;
    for (; text[length] != 0; length++)
        if (length + 1 < room) out[length] = text[length];
    if (room > 0) out[length < room ? length : room - 1] = 0;
    return length;
}
