/*
 * Decides whether a stopped thread has a frame in code that may hold a lock which dlopen takes.
 *
 * libunwind follows the stack by the modules' unwind tables. It is loaded with dlopen, so that the tools also run
 * without it. If libunwind is missing or can't continue (JIT code, a module without tables), the rest of the stack is
 * searched word by word: if no word can be a return address into that code, there is no such frame. A word left over
 * from an earlier call can cause a needless refusal, but never a wrong acceptance.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "thread.h"

/* From libunwind's header for the processor: the words of a cursor, and the register numbers. */
#if defined(__x86_64__)
#define UNWINDER "libunwind-x86_64.so.8"
#define NAME(function) "_Ux86_64_" function
#define CURSOR_WORDS 127
#define STACK_POINTER 7
#define INSTRUCTION_POINTER 16
#elif defined(__aarch64__)
#define UNWINDER "libunwind-aarch64.so.8"
#define NAME(function) "_Uaarch64_" function
#define CURSOR_WORDS 4096
#define STACK_POINTER 31
#define INSTRUCTION_POINTER 32
#endif
#define FRAMES_MOST 512

static struct {
    bool is_tried, is_there;
    void *space;
    void *(*create)(pid_t);
    void (*destroy)(void *);
    int (*init)(void *cursor, void *space, void *context);
    int (*step)(void *cursor);
    int (*get)(void *cursor, int number, uint64_t *value);
} unwinder;

int attach_has_unwinder(void) {
    if (unwinder.is_tried) return unwinder.is_there;
    unwinder.is_tried = true;
    void *general = dlopen(UNWINDER, RTLD_NOW | RTLD_GLOBAL), *remote = dlopen("libunwind-ptrace.so.0", RTLD_NOW);
    if (general == NULL || remote == NULL) return 0;
    void *(*make)(void *accessors, int order);
    *(void **)&make = dlsym(general, NAME("create_addr_space"));
    void *accessors = dlsym(remote, "_UPT_accessors");
    *(void **)&unwinder.create = dlsym(remote, "_UPT_create");
    *(void **)&unwinder.destroy = dlsym(remote, "_UPT_destroy");
    *(void **)&unwinder.init = dlsym(general, NAME("init_remote"));
    *(void **)&unwinder.step = dlsym(general, NAME("step"));
    *(void **)&unwinder.get = dlsym(general, NAME("get_reg"));
    if (make == NULL || accessors == NULL || unwinder.create == NULL || unwinder.destroy == NULL
        || unwinder.init == NULL || unwinder.step == NULL || unwinder.get == NULL)
        return 0;
    unwinder.space = make(accessors, 0);
    return unwinder.is_there = unwinder.space != NULL;
}

static bool holds(const struct attach_span *spans, size_t count, uint64_t address) {
    for (size_t i = 0; i < count; i++)
        if (address - spans[i].start < spans[i].end - spans[i].start) return true;
    return false;
}

/* A return address may be signed, in the bits above those of an address. */
static uint64_t without_signature(uint64_t word) {
#if defined(__aarch64__)
    return word & ((1ull << 48) - 1);
#else
    return word;
#endif
}

/* AArch64 calls put the return address into a register, and a function that calls no other leaves it there. */
static bool is_caller_inside(const struct user_regs_struct *saved, const struct attach_span *spans, size_t count) {
#if defined(__aarch64__)
    return holds(spans, count, without_signature(saved->regs[30]) - 1);
#else
    return (void)saved, (void)spans, (void)count, false;
#endif
}

/* Whether a word of the stack between `from` and `end` may be a return address into the spans. */
static bool has_word(pid_t pid, uint64_t from, uint64_t end, const struct attach_span *spans, size_t count) {
    uint64_t words[1024];
    for (uint64_t at = from & ~7ull; at < end;) {
        size_t bytes = end - at < sizeof words ? (size_t)(end - at) & ~(size_t)7 : sizeof words;
        ssize_t got = bytes == 0 ? 0 : attach_read(pid, at, words, bytes);
        if (got <= 0) return bytes != 0; /* unreadable: it may hold one */
        for (size_t i = 0; i < (size_t)got / 8; i++)
            if (holds(spans, count, without_signature(words[i]) - 1)) return true;
        at += (uint64_t)got & ~7ull;
    }
    return false;
}

enum attach_state attach_look(const struct attach_plan *plan, pid_t tid, const struct user_regs_struct *saved,
    uint64_t stack_end, const struct attach_span *spans, size_t count) {
    if (holds(spans, count, registers_instruction(saved))) return ATTACH_IN_ALLOCATOR;
    /* The cheap test first. It starts at the stack pointer: the red zone below holds no return address. */
    uint64_t reached = registers_stack(saved);
    if (!is_caller_inside(saved, spans, count) && !has_word(plan->pid, reached, stack_end, spans, count))
        return ATTACH_SAFE;
    if (attach_has_unwinder()) {
        uint64_t cursor[CURSOR_WORDS];
        void *context = unwinder.create(tid);
        int more = context != NULL ? unwinder.init(cursor, unwinder.space, context) : -1;
        bool is_inside = false;
        for (int i = 0; more >= 0 && i < FRAMES_MOST; i++) {
            uint64_t at = 0, stack = 0;
            if (unwinder.get(cursor, INSTRUCTION_POINTER, &at) < 0 || unwinder.get(cursor, STACK_POINTER, &stack) < 0) {
                more = -1;
                break;
            }
            if (holds(spans, count, at - 1) || holds(spans, count, at)) is_inside = true;
            if (stack > reached && stack < stack_end) reached = stack;
            if (is_inside || (more = unwinder.step(cursor)) <= 0) break;
        }
        if (context != NULL) unwinder.destroy(context);
        if (is_inside) return ATTACH_IN_ALLOCATOR;
        if (more == 0) return ATTACH_SAFE; /* the end of the stack */
    }
    return is_caller_inside(saved, spans, count) || has_word(plan->pid, reached, stack_end, spans, count)
        ? ATTACH_UNKNOWN
        : ATTACH_SAFE;
}

uint64_t attach_stack_start(pid_t pid, uint64_t stack_pointer, uint64_t *end) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    uint64_t found = 0;
    while (file != NULL && found == 0 && fgets(line, sizeof line, file) != NULL) {
        unsigned long long from, to;
        char rights[5];
        if (sscanf(line, "%llx-%llx %4s", &from, &to, rights) != 3 || stack_pointer - from >= to - from) continue;
        if (rights[0] != 'r' || rights[1] != 'w' || rights[3] != 'p') break;
        found = from;
        *end = to;
    }
    if (file != NULL) fclose(file);
    return found;
}
