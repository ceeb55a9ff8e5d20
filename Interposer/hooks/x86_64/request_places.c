/*
 * The places in the program's code with a client request of Valgrind's, which this file makes call the recorder.
 *
 * A request is 19 bytes that do nothing on a processor. In their place there is room for a call that leaves the red
 * zone alone. It leads to requests_entry, directly or, where that is farther than 2 GB, by a page near the module with
 * one jump.
 *
 * Code is changed only while nobody can be executing it: that of the modules of the start before any of their code
 * runs, while the process has one thread; that of a library that dlopen loads before its first constructor, when no
 * function of it has been called and no other thread can have its addresses. Never in a program that was running
 * before.
 *
 * The bytes are changed only where call frame information says that they are code. A segment becomes writable and stays
 * executable meanwhile. If the kernel forbids that (SELinux, PR_SET_MDWE, a seccomp filter), it does so before anything
 * is changed. To write first, and then to ask for execution back, could leave a program that can't run.
 */
#include <elf.h>
#include <link.h>
#include <string.h>

#include "base/callers.h"
#include "base/changed.h"
#include "base/loader.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/system.h"
#include "book/pools.h"
#include "book/ranges.h"
#include "hooks/requests.h"
#include "process/start.h"
#include "stacks/cfi.h"
#include "threads/hook.h"

/*
 * A place calls this, from 128 bytes below its stack pointer. All registers and flags stay as they are: %rdx, too, the
 * answer. For whoever unwinds through here, the caller's stack pointer is that of the code around the place, so its own
 * call frame information holds.
 */
extern char requests_entry[] __attribute__((visibility("hidden")));
__asm__(".pushsection .text\n"
        ".globl requests_entry\n"
        ".hidden requests_entry\n"
        ".type requests_entry, @function\n"
        "requests_entry:\n"
        "    .cfi_startproc\n"
        "    .cfi_def_cfa %rsp, 136\n"
        "    .cfi_offset %rip, -136\n"
        "    endbr64\n"
        "    pushfq\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rax\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rcx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rdx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r8\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r9\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r10\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r11\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    cld\n"
        "    movq %rax, %rdi\n"
        "    movq 80(%rsp), %rsi\n"
        "    leaq 216(%rsp), %rdx\n"
        "    movq %rbp, %rcx\n"
        "    call requests_take\n"
        "    popq %r11\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r10\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r9\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r8\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rdx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rcx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rax\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popfq\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size requests_entry, . - requests_entry\n"
        ".popsection\n");

struct places {
    uint64_t changed, refused, unsure;
    bool may_change;
};

/* A part of a module's code. */
struct code {
    const struct loaded *module;
    uintptr_t start, end;
    int protection;
};

/* ---- Finding ----------------------------------------------------------------------------------------------- */

static const uint8_t wanted[CHANGED_BYTES] = REQUEST_INSTRUCTIONS;

/* The first request in [from, end), or NULL. By Horspool's method: nearly all code is passed over in steps of 19
 * bytes. */
static uint8_t *next_request(uint8_t *from, const uint8_t *end) {
    static uint8_t steps[256];
    if (steps[0] == 0) {
        for (int i = 255; i >= 0; i--) steps[i] = CHANGED_BYTES; /* steps[0] last: it says that all are there */
        for (uint32_t i = 0; i < CHANGED_BYTES - 1; i++) steps[wanted[i]] = (uint8_t)(CHANGED_BYTES - 1 - i);
    }
    while ((size_t)(end - from) >= CHANGED_BYTES) {
        const uint8_t last = from[CHANGED_BYTES - 1];
        if (last == wanted[CHANGED_BYTES - 1] && memcmp(from, wanted, CHANGED_BYTES) == 0) return from;
        from += steps[last];
    }
    return NULL;
}

/* Whether all of the bytes are code of functions. */
static bool is_code(const uint8_t *place) {
    return cfi_has_entry((uintptr_t)place) && cfi_has_entry((uintptr_t)place + CHANGED_BYTES - 1);
}

/* ---- Ways to the recorder ------------------------------------------------------------------------------------ */

#define REACH ((1ull << 31) - (64u << 10))
#define BRIDGES_MOST 64
static uintptr_t bridges[BRIDGES_MOST];
static uint32_t bridge_count;

static bool is_near(const struct code *code, uintptr_t target) {
    const uintptr_t from_start = target > code->start ? target - code->start : code->start - target,
                    from_end = target > code->end ? target - code->end : code->end - target;
    return from_start < REACH && from_end < REACH;
}

/* A page with a jump. */
static bool fill_in(void *page) {
    static const uint8_t jump[BRIDGE_JUMP] = BRIDGE_INSTRUCTIONS;
    const uintptr_t target = (uintptr_t)requests_entry;
    memcpy(page, jump, sizeof jump);
    memcpy((uint8_t *)page + sizeof jump, &target, sizeof target);
    return system_protect((uintptr_t)page, HEAP_PAGE_BYTES, PROT_READ | PROT_EXEC) == 0;
}

/*
 * Maps such a page near the code; 0 if that fails. First where the kernel likes, which is near a library that was just
 * loaded. Then below the module, and never above: above the program the heap grows.
 */
static uintptr_t make_bridge(const struct code *code) {
    for (uint32_t turn = 0; turn <= 16; turn++) {
        const uintptr_t below = turn == 0 ? 0 : (uintptr_t)HEAP_PAGE_BYTES << (turn + 2);
        if (below >= code->module->start) break;
        void *page = system_map(turn == 0 ? NULL : (void *)(code->module->start - below), HEAP_PAGE_BYTES,
            PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        if (page == NULL) continue;
        if (is_near(code, (uintptr_t)page) && fill_in(page)) return (uintptr_t)page;
        system_unmap(page, HEAP_PAGE_BYTES);
    }
    return 0;
}

/* Where the code's calls have to lead; 0: nowhere. */
static uintptr_t way_from(const struct code *code) {
    if (is_near(code, (uintptr_t)requests_entry)) return (uintptr_t)requests_entry;
    for (uint32_t i = 0; i < bridge_count; i++)
        if (is_near(code, bridges[i])) return bridges[i];
    const uintptr_t made = bridge_count < BRIDGES_MOST ? make_bridge(code) : 0;
    if (made != 0) bridges[bridge_count++] = made;
    return made;
}

/* ---- Changing ------------------------------------------------------------------------------------------------ */

static void change(uint8_t *place, uintptr_t target) {
    uint8_t bytes[CHANGED_BYTES] = CHANGED_INSTRUCTIONS;
    const int32_t distance = (int32_t)(target - ((uintptr_t)place + CHANGED_RETURN));
    memcpy(bytes + CHANGED_CALL + 1, &distance, sizeof distance);
    memcpy(place, bytes, sizeof bytes);
}

static void change_code(const struct code *code, struct places *places) {
    uint8_t *const start = (uint8_t *)code->start, *const end = (uint8_t *)code->end;
    uint64_t sure = 0;
    for (uint8_t *at = start; (at = next_request(at, end)) != NULL; at += CHANGED_BYTES)
        if (is_code(at)) sure++;
        else places->unsure++;
    if (sure == 0) return;
    const uintptr_t first = code->start & ~(uintptr_t)(HEAP_PAGE_BYTES - 1),
                    bytes = (code->end - first + HEAP_PAGE_BYTES - 1) & ~(uintptr_t)(HEAP_PAGE_BYTES - 1);
    const uintptr_t target = places->may_change ? way_from(code) : 0;
    if (target == 0 || system_protect(first, bytes, code->protection | PROT_WRITE) != 0) {
        places->refused += sure;
        return;
    }
    if (load_relaxed(&code_is_changed) == CODE_UNCHANGED)
        store_relaxed(&code_is_changed, vectors_have_xsave() ? CODE_CHANGED_WITH_XSAVE : CODE_CHANGED);
    for (uint8_t *at = start; (at = next_request(at, end)) != NULL; at += CHANGED_BYTES) {
        if (!is_code(at)) continue;
        change(at, target);
        places->changed++;
    }
    system_protect(first, bytes, code->protection); /* what could be made writable can be made the same again */
}

/* This library, and those beside it, ask whether Valgrind is there. */
static bool is_ours(const struct loaded *module) {
    static const char name[] = "libheapsum";
    const char *file = module->path != NULL ? strrchr(module->path, '/') : NULL;
    return module_span_holds(&callers.own, module->start)
        || (file != NULL && strncmp(file + 1, name, sizeof name - 1) == 0);
}

/* Goes through a module's code, by the program headers at its start. */
static void change_module(const struct loaded *module, struct places *places) {
    ElfW(Ehdr) elf;
    if (is_ours(module) || !memory_fetch(&elf, module->start, sizeof elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0
        || elf.e_phentsize != sizeof(ElfW(Phdr))
        || elf.e_phoff + (uint64_t)elf.e_phnum * sizeof(ElfW(Phdr)) > HEAP_PAGE_BYTES)
        return;
    for (size_t i = 0; i < elf.e_phnum; i++) {
        ElfW(Phdr) segment;
        if (!memory_fetch(&segment, module->start + elf.e_phoff + i * sizeof segment, sizeof segment)) return;
        const uintptr_t start = module->bias + segment.p_vaddr;
        if (segment.p_type != PT_LOAD || (segment.p_flags & (PF_R | PF_W | PF_X)) != (PF_R | PF_X)
            || start < module->start || segment.p_filesz > module->end - start || !memory_is_readable(start))
            continue;
        const struct code code = {module, start, start + segment.p_filesz, PROT_READ | PROT_EXEC};
        change_code(&code, places);
    }
}

static bool visit(const struct loaded *module, void *context) {
    change_module(module, context);
    return false;
}

/* ---- When ---------------------------------------------------------------------------------------------------- */

static uint32_t is_on;

/* The kernel counts the threads in the links of this directory. */
static bool has_one_thread(void) {
    struct stat status;
    return system_may_look() && system_stat("/proc/self/task", &status) == 0 && status.st_nlink == 3;
}

/* After the constructor in process/start.c, and before all others. */
__attribute__((constructor)) static void prepare(void) {
    if (!options.record || !options.requests || !options.mappings || loader_is_static() || loader_is_late()
        || running_on_valgrind() || system_process() != load_relaxed(&hook_live.home))
        return;
    callers_know(&callers.own, (uintptr_t)&prepare);
    ranges_begin();
    /* If libraries have made threads this early, or there is no /proc to say so, the places are only counted. */
    struct places places = {.may_change = has_one_thread()};
    loader_each_of_start(visit, &places);
    store_release(&is_on, 1); /* partner: requests_opened */
    pools_request_places(places.changed, places.refused, places.unsure);
}

void requests_opened(uintptr_t address) {
    struct loaded module;
    struct places places = {.may_change = true};
    if (!load_acquire(&is_on) || loader_is_of_start(address) || !loader_find(address, &module)) return;
    change_module(&module, &places);
    if (places.changed + places.refused + places.unsure != 0)
        pools_request_places(places.changed, places.refused, places.unsure);
}
