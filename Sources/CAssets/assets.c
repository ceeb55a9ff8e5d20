#include "assets.h"

/* The assembler looks for a file in the folders of -I. */
#define ASSET(name, file) \
    __asm__(".section .rodata\n" #name "_begin: .incbin \"" file "\"\n" #name "_end: .previous\n"); \
    extern const uint8_t name##_begin[], name##_end[]; \
    struct asset asset_##name(void) { \
        return (struct asset){name##_begin, (size_t)(name##_end - name##_begin)}; \
    } \
    struct asset asset_##name(void)
#include "asset_list.h"
