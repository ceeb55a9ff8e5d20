/*
 * The probes, with their notes. The notes' form is SystemTap's (its wiki, UserSpaceProbeImplementation): the addresses
 * of the probe, of a base by which tools notice prelink, and of the semaphore; then provider, name and arguments. An
 * argument is its size in bytes and where it is: `8@%rdi`.
 */
#include "base/probes.h"

/* In a file-backed, writable page, where the kernel can find them by their offset in the file. */
#define SEMAPHORE __attribute__((section(".probes"), used))
SEMAPHORE uint16_t otel_memory_alloc_semaphore = 0;
SEMAPHORE uint16_t otel_memory_free_semaphore = 0;

#define PROBE(name, arguments, ...) \
    __asm__ volatile("990: nop\n" \
                     ".pushsection .note.stapsdt,\"\",%%note\n" \
                     ".balign 4\n" \
                     ".4byte 992f-991f, 994f-993f, 3\n" \
                     "991: .asciz \"stapsdt\"\n" \
                     "992: .balign 4\n" \
                     "993: .8byte 990b, _.stapsdt.base, otel_memory_" name "_semaphore\n" \
                     ".asciz \"otel_memory\"\n" \
                     ".asciz \"" name "\"\n" \
                     ".asciz \"" arguments "\"\n" \
                     "994: .balign 4\n" \
                     ".popsection\n" \
                     ".ifndef _.stapsdt.base\n" \
                     ".pushsection .stapsdt.base,\"aG\",%%progbits,.stapsdt.base,comdat\n" \
                     ".weak _.stapsdt.base\n" \
                     ".hidden _.stapsdt.base\n" \
                     "_.stapsdt.base: .space 1\n" \
                     ".size _.stapsdt.base, 1\n" \
                     ".popsection\n" \
                     ".endif\n" \
                     : \
                     : __VA_ARGS__)

__attribute__((noinline, cold)) void probe_alloc(const void *block, size_t bytes, uint64_t weight) {
    PROBE("alloc", "8@%0 8@%1 8@%2", "r"(block), "r"(bytes), "r"(weight));
}

__attribute__((noinline, cold)) void probe_free(const void *block) { PROBE("free", "8@%0", "r"(block)); }
