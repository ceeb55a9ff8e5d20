// The interposer's C that only computes, run under a sanitizer: call frame information and the rules made of it, frames
// measured by their instructions, the clock's ticks, and the readers of seccomp filters and of OpenTelemetry's process
// context. Undefined behaviour in there would be undefined in somebody else's process. What these files ask of the rest
// of the interposer is answered here.
//
// With libFuzzer (`make fuzz SURFACE=interposer`) the input is an ELF file or a filter. Without it (`make test`) the
// inputs are the files named on the command line, whole and with bytes changed, and filters made by a fixed seed.
// usage: pure FILE…
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/callers.h"
#include "base/changed.h"
#include "hooks/sandbox.c" // for its function that runs a filter, which no other file sees
#include "stacks/cfi.h"
#include "stacks/modules.h"
#include "stacks/process_context.h"
#if OWN_UNWINDER
#include "stacks/rules.h"
#endif

// ---- What the rest of the interposer would answer -------------------------------------------------------------

// One module, laid out as the loader would, between pages that can't be touched.
static struct module_frames module;
static uint8_t *mapping;
static size_t mapping_bytes;

uint32_t loader_changes = 1;
uint32_t code_is_changed; /* no place is, so what it takes to look at one is never used */
struct callers callers;
struct next next;
struct options options;
struct image image;
struct system_forbidden system_forbidden;
union hook_live hook_live;
__thread struct local local;

bool module_frames_of(uintptr_t pc, struct module_frames *frames) {
    if (pc < module.start || pc >= module.end || module.eh_frame_hdr == NULL) return false;
    *frames = module;
    return true;
}
uintptr_t loader_start_of(uintptr_t address) {
    return address >= module.start && address < module.end ? module.start : 0;
}
bool memory_is_readable(uintptr_t address) {
    return address >= module.start && address < module.end && module.end - address >= 8;
}
bool memory_fetch(void *to, uintptr_t from, size_t bytes) {
    if (from < module.start || from >= module.end || module.end - from < bytes) return false;
    memcpy(to, (const void *)from, bytes);
    return true;
}
bool start_next(void) { return false; }
bool start_may_record(void) { return false; }
void start_stop(void) {}
void message(const char *first, const char *second) { fprintf(stderr, "%s%s\n", first, second); }

// ---- Help ---------------------------------------------------------------------------------------------------

static uint64_t seed = 1;
static uint64_t random_number(uint64_t below) { // xorshift64*
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (seed * 0x2545F4914F6CDD1Dull >> 16) % below;
}

static void require(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "pure: %s\n", what);
    abort();
}

// Lays out an ELF file's segments in memory; false if it is none, has no call frame information, or is too large.
static bool lay_out(const uint8_t *bytes, size_t count) {
    Elf64_Ehdr header;
    if (count < sizeof header) return false;
    memcpy(&header, bytes, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) return false;
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > count) return false;
    if ((count - header.e_phoff) / sizeof(Elf64_Phdr) < header.e_phnum) return false;
    uint64_t end = 0, frames = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < header.e_phnum; i++) {
            Elf64_Phdr part;
            memcpy(&part, bytes + header.e_phoff + i * sizeof part, sizeof part);
            const uint64_t most = 64 << 20;
            if (part.p_vaddr > most || part.p_memsz > most || part.p_filesz > part.p_memsz) continue;
            if (pass == 0 && part.p_type == PT_LOAD && part.p_vaddr + part.p_memsz > end)
                end = part.p_vaddr + part.p_memsz;
            if (pass == 0 && part.p_type == PT_GNU_EH_FRAME) frames = part.p_vaddr;
            if (pass == 0 || part.p_type != PT_LOAD) continue;
            if (part.p_offset > count || count - part.p_offset < part.p_filesz) continue;
            memcpy((uint8_t *)module.start + part.p_vaddr, bytes + part.p_offset, part.p_filesz);
        }
        if (pass == 0) {
            if (end == 0 || frames == 0 || frames >= end) return false;
            // The last byte of the module is the last one before a page that can't be touched.
            size_t pages = (end + HEAP_PAGE_BYTES - 1) / HEAP_PAGE_BYTES * HEAP_PAGE_BYTES;
            mapping_bytes = pages + 2 * HEAP_PAGE_BYTES;
            mapping = mmap(NULL, mapping_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            require(mapping != MAP_FAILED, "no memory for a module");
            require(mprotect(mapping + HEAP_PAGE_BYTES, pages, PROT_READ | PROT_WRITE) == 0, "mprotect");
            module.end = (uintptr_t)mapping + HEAP_PAGE_BYTES + pages;
            module.start = module.end - pages;
            if (end % 16 == 0) module.start = module.end - end;
            module.eh_frame_hdr = (const uint8_t *)module.start + frames;
        }
    }
    return true;
}

static void take_away(void) {
    munmap(mapping, mapping_bytes);
    module = (struct module_frames){0};
}

// ---- Call frame information -----------------------------------------------------------------------------------

// The row, the rule and the step for one pc; whether it has a row.
static bool look(uintptr_t pc) {
    static struct cfi_space space;
    static _Alignas(16) uint64_t stack[512];
    bool found = cfi_find_row(pc, &space);
    struct cfi_registers registers;
    for (int i = 0; i < CFI_REGISTERS; i++) registers.values[i] = (uintptr_t)&stack[random_number(500)];
    const struct cfi_bounds bounds = {(uintptr_t)stack, (uintptr_t)stack + sizeof stack};
    if (found) cfi_step(&space.row, &registers, bounds);
    require(found <= cfi_has_entry(pc), "a pc has a row and no entry");
#if OWN_UNWINDER
    uint64_t rule = rule_find(pc, &space);
    require(rule_kind(rule) != RULE_NONE, "a rule leads nowhere");
#if defined(__aarch64__) // a signal handler's return and a linker's stub are known by their code
    require(rule_kind(rule) != RULE_GUESS || !found, "a rule was guessed in spite of its row");
#else
    // Without a row there may be a signal handler's return, which is known by its instructions.
    const bool is_made = rule_kind(rule) != RULE_GUESS;
    require(is_made ? found || rule_kind(rule) == RULE_SIGNAL : !found,
        "a rule was guessed in spite of its row, or made without one");
#endif
#endif
    return found;
}

// The search table's rows: the starts of functions, and where each one's entry is. 0 if it has none.
static uint32_t table(const uint8_t **rows) {
    const uint8_t *header = module.eh_frame_hdr;
    if ((uintptr_t)header + 12 > module.end || header[0] != 1 || header[1] != 0x1B || header[2] != 0x03) return 0;
    uint32_t count;
    memcpy(&count, header + 8, 4);
    *rows = header + 12;
    return (module.end - (uintptr_t)*rows) / 8 < count ? 0 : count;
}

struct row {
    int32_t start, entry;
};
static struct row row_of(const uint8_t *rows, uint32_t index) {
    struct row row;
    memcpy(&row, rows + (size_t)index * sizeof row, sizeof row);
    return row;
}

static size_t looks, rows_found;

// Functions all over the module, by their first bytes and by some within.
static void look_all_over(size_t most) {
    const uint8_t *rows;
    const uint32_t count = table(&rows);
    for (uint64_t i = 0; i < count; i += count / most + 1) {
        const uintptr_t start = (uintptr_t)module.eh_frame_hdr + (uintptr_t)(intptr_t)row_of(rows, (uint32_t)i).start;
        for (unsigned at = 0; at < 64; at += 1 + at) {
            rows_found += look(start + at);
            looks++;
        }
    }
}

// Changes some bytes, or writes a run of instructions with long numbers, as no compiler has them.
static void damage(uint8_t *place, size_t count) {
    if (random_number(2) == 0) {
        for (uint64_t changes = 1 + random_number(6); changes > 0; changes--)
            place[random_number(count)] = (uint8_t)random_number(256);
        return;
    }
    static const uint8_t instructions[] = {
        0x05, 0x09, 0x0C, 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x2F};
    size_t at = 8 + random_number(count - 8);
    while (at < count) {
        place[at++] = instructions[random_number(sizeof instructions)];
        if (random_number(2) == 0 && at < count) place[at++] = (uint8_t)random_number(17);
        for (uint64_t more = random_number(11); more > 0 && at < count; more--)
            place[at++] = random_number(4) == 0 ? (uint8_t)(0x80 | random_number(128)) : 0xFF;
        if (at < count) place[at++] = (uint8_t)random_number(128);
    }
}

// The same with bytes changed: in an entry, in the one that it shares with others, and in the header.
static void look_at_damage(unsigned rounds) {
    const uint8_t *rows;
    const uint32_t count = table(&rows);
    if (count == 0) return;
    for (unsigned round = 0; round < rounds; round++) {
        const struct row row = row_of(rows, (uint32_t)random_number(count));
        uint8_t *entry = (uint8_t *)module.eh_frame_hdr + row.entry, *place = entry;
        if ((uintptr_t)entry < module.start || (uintptr_t)entry + 64 > module.end) continue;
        uint32_t back;
        memcpy(&back, entry + 4, 4);
        if (round % 4 == 1 && (uintptr_t)entry + 4 - back >= module.start) place = entry + 4 - back;
        if (round % 64 == 2) place = (uint8_t *)module.eh_frame_hdr;
        uint8_t kept[64];
        memcpy(kept, place, sizeof kept);
        if (place == module.eh_frame_hdr) place[random_number(12)] = (uint8_t)random_number(256);
        else damage(place, sizeof kept);
        const uintptr_t start = (uintptr_t)module.eh_frame_hdr + (uintptr_t)(intptr_t)row.start;
        look(start);
        look(start + random_number(64));
        memcpy(place, kept, sizeof kept);
        looks += 2;
    }
}

#if OWN_UNWINDER
#include "measured.h"
#endif

static void evaluate(const uint8_t *bytes, size_t count) {
    uint64_t stack[8] = {0};
    struct cfi_registers registers;
    for (int i = 0; i < CFI_REGISTERS; i++) registers.values[i] = (uintptr_t)&stack[i % 8];
    const struct cfi_bounds bounds = {(uintptr_t)stack, (uintptr_t)stack + sizeof stack};
    for (uint64_t first = 0; first < 2; first++) {
        uint64_t result = first;
        cfi_evaluate(bytes, (int64_t)count, &registers, bounds, &result);
    }
}

// ---- Ticks ---------------------------------------------------------------------------------------------------

static void check_tick(uint64_t milliseconds) {
    const uint32_t tick = heap_tick_of_milliseconds(milliseconds);
    const uint64_t first = heap_tick_milliseconds(tick);
    require(tick <= HEAP_SLOT_TICK_MASK, "a tick has more than 20 bits");
    require(first <= milliseconds, "a tick begins after its time");
    if (tick == HEAP_SLOT_TICK_MASK) return;
    const uint64_t after = heap_tick_milliseconds(tick + 1);
    require(milliseconds < after, "a tick ends before its time");
    require(after - first <= milliseconds / 32768 + 1, "a tick is wider than a 32,768th of its time");
}

static void check_ticks(void) {
    for (unsigned bit = 0; bit < 63; bit++)
        for (int64_t beside = -3; beside <= 3; beside++) {
            const uint64_t milliseconds = (1ull << bit) + (uint64_t)beside;
            if (milliseconds < 1ull << 63) check_tick(milliseconds);
        }
    for (unsigned i = 0; i < 100000; i++) check_tick(random_number(1ull << random_number(48)));
    check_tick((1ull << 63) - 1);
}

// ---- Filters -------------------------------------------------------------------------------------------------

static void run_filter(const struct sock_filter *steps, size_t count) {
    // In memory of its own size, so that a sanitizer sees what is read beyond it.
    struct sock_filter *copy = malloc(count * sizeof *copy + 1);
    require(copy != NULL, "no memory for a filter");
    memcpy(copy, steps, count * sizeof *copy);
    const struct sock_fprog program = {(unsigned short)count, copy};
    const struct seccomp_data data = {
        .nr = SYS_madvise, .arch = MACHINE_AUDIT, .args = {0, HEAP_PAGE_BYTES, 23, (uint64_t)-1, 1ull << 63, 0}};
    answer(&program, &data);
    free(copy);
}

// Filters as programs have them: random steps, most of them of a known kind.
static void check_filters(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct sock_filter steps[40];
        const size_t length = 1 + random_number(40);
        for (size_t at = 0; at < length; at++) {
            const uint64_t kind = random_number(8);
            uint16_t code = (uint16_t)(kind | random_number(16) << 4 | random_number(2) << 3);
            if (random_number(8) == 0) code = (uint16_t)random_number(1 << 16);
            static const uint32_t values[] = {0, 1, 4, 15, 16, 31, 32, 60, 61, 64, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
            steps[at] = (struct sock_filter){code, (uint8_t)random_number(length), (uint8_t)random_number(length),
                values[random_number(sizeof values / sizeof values[0])]};
        }
        run_filter(steps, length);
    }
    // What a program is known to do: the kernel's own example allows by number, and kills for another architecture.
    const struct sock_filter known[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MACHINE_AUDIT, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof known / sizeof known[0], (struct sock_filter *)known};
    struct seccomp_data data = {.nr = SYS_madvise, .arch = MACHINE_AUDIT};
    require(answer(&program, &data) == (SECCOMP_RET_ERRNO | EPERM), "a filter answers EPERM, and is read otherwise");
    data.nr = SYS_getpid;
    require(answer(&program, &data) == SECCOMP_RET_ALLOW, "a filter allows, and is read otherwise");
    data.arch = ~MACHINE_AUDIT;
    require(answer(&program, &data) == SECCOMP_RET_KILL_PROCESS, "a filter kills, and is read otherwise");
}

// ---- Process contexts ------------------------------------------------------------------------------------------

// Reads a payload that lies in memory of its own size.
static bool read_payload(const uint8_t *bytes, size_t count, struct process_context *context) {
    uint8_t *copy = malloc(count + 1);
    require(copy != NULL, "no memory for a payload");
    memcpy(copy, bytes, count);
    module = (struct module_frames){(uintptr_t)copy, (uintptr_t)copy + count, NULL};
    const bool is_right = process_context_parse((uintptr_t)copy, count, "http.route", context);
    module = (struct module_frames){0};
    free(copy);
    require(!is_right || (context->count <= PROCESS_CONTEXT_KEYS && context->numbers <= context->count),
        "a process context has more numbers than attributes");
    require(!is_right || context->numbers == 0 || context->number < context->count, "an attribute has no such number");
    return is_right;
}

// As protobuf's own encoder writes it: the schema, and the names "user.id", "http.route".
static const uint8_t known_payload[] = "\x12\x26\x0a\x1athreadlocal.schema_version\x12\x08\x0a\x06tls_v1"
                                       "\x12\x3c\x0a\x1dthreadlocal.attribute_key_map\x12\x1b\x2a\x19"
                                       "\x0a\x09\x0a\x07user.id\x0a\x0c\x0a\x0ahttp.route";

static void check_payloads(unsigned count) {
    enum { BYTES = sizeof known_payload - 1 };
    struct process_context context;
    require(read_payload(known_payload, BYTES, &context), "a process context can't be read");
    require(context.count == 2 && context.numbers == 1 && context.number == 1, "a process context is read otherwise");
    for (size_t i = 0; i < BYTES; i++)
        require(!read_payload(known_payload, i, &context), "a process context that is cut off is read");
    for (unsigned i = 0; i < count; i++) {
        uint8_t bytes[BYTES];
        memcpy(bytes, known_payload, BYTES);
        for (uint64_t changes = 1 + random_number(4); changes > 0; changes--)
            bytes[random_number(BYTES)] = (uint8_t)random_number(256);
        read_payload(bytes, BYTES - random_number(2) * random_number(BYTES), &context);
    }
}

// ---- Inputs ---------------------------------------------------------------------------------------------------

#ifdef FUZZER
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
#if OWN_UNWINDER
    struct instruction instruction;
    struct measured measured;
    instruction_read(bytes, count, &instruction);
    module = (struct module_frames){(uintptr_t)bytes, (uintptr_t)bytes + count, NULL};
    measure_frame(module.start, module.end - count % 64, count % 2, &measured);
    module = (struct module_frames){0};
#endif
    if (lay_out(bytes, count)) {
        look_all_over(64);
        look(module.start);
        take_away();
    } else {
        struct process_context context;
        evaluate(bytes, count);
        if (count <= PROCESS_CONTEXT_MOST) read_payload(bytes, count, &context);
        if (count < 4096 * sizeof(struct sock_filter))
            run_filter((const struct sock_filter *)(const void *)bytes, count / sizeof(struct sock_filter));
    }
    return 0;
}
#else
// A file is used if it is an ELF file with call frame information: true then.
static bool use_file(const char *path) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0 || status.st_size == 0) {
        fprintf(stderr, "pure: %s: can't be read\n", path);
        exit(1);
    }
    const size_t count = (size_t)status.st_size;
    const uint8_t *bytes = mmap(NULL, count, PROT_READ, MAP_PRIVATE, file, 0);
    require(bytes != MAP_FAILED, "no memory for a file");
    close(file);
    const bool used = lay_out(bytes, count);
    if (used) {
        look_all_over(400);
#if OWN_UNWINDER
        if (*path == '/') measure_all_over(400); // a real library, as a compiler made it
#endif
        look_at_damage(2000);
        take_away();
    }
    munmap((void *)bytes, count);
    return used;
}

int main(int count, char **paths) {
    size_t used = 0;
    for (int i = 1; i < count; i++) used += use_file(paths[i]);
    check_ticks();
    check_filters(100000);
    check_payloads(100000);
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t bytes[24];
        for (size_t at = 0; at < sizeof bytes; at++)
            bytes[at] = (uint8_t)(random_number(3) == 0 ? random_number(256) : 0x06 + random_number(0x90));
        evaluate(bytes, 1 + random_number(sizeof bytes));
    }
#if OWN_UNWINDER
    measure_noise(20000);
    printf("%zu of %zu frames measured as their compilers say, ", frames_measured, calls_met);
    if (instants_met > 0) printf("and %zu of %zu between calls, ", instants_measured, instants_met);
    require(differing == 0, "frames are measured otherwise than their compilers say");
    require(calls_met == 0 || frames_measured * 4 > calls_met * 3, "one frame in four can't be measured");
#endif
    printf("%zu files of %d, %zu places, %zu rows\n", used, count - 1, looks, rows_found);
    return used > 0 ? 0 : 1;
}
#endif
