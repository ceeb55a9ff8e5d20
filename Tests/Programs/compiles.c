/*
 * A JIT compiler in small: it writes machine code into memory, runs it, puts other code there, and tells of it in a
 * perf map, in a jitdump file, or in both. Each piece of code allocates one block, which is kept. For each block the
 * program prints its bytes, and the function, file and line that allocated it; "-" where two functions had the same
 * return address, so that nobody can know.
 *
 *     compiles map|dump|both|shifted|none [DIRECTORY [WAIT | exec PROGRAM [ARGUMENT...]]]
 *
 * The directory is that of the jitdump file. `shifted` adds 64 to its lines' addresses, as V8 does; no line is
 * expected then, because V8's functions have their file in their name, and these don't. WAIT: wait for the
 * end of the standard input before the program ends. exec: another program takes its place. A digit behind the
 * kind (`map2`) is behind each function's name, too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CODE = 4096, NAME = 64 };
static FILE *map, *dump;
static unsigned shift;
static const char *digit = "";
static uint64_t codes;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void write32(uint32_t value) { fwrite(&value, sizeof value, 1, dump); }
static void write64(uint64_t value) { fwrite(&value, sizeof value, 1, dump); }
static void prefix(uint32_t kind, size_t bytes) {
    write32(kind);
    write32((uint32_t)(16 + bytes));
    write64(now());
}

static void begin_dump(const char *directory) {
    char path[256];
    snprintf(path, sizeof path, "%s/jit-%d.dump", directory, getpid());
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dump = fdopen(file, "w");
    if (dump == NULL) exit(1);
    /* perf finds the file because it is mapped executable */
    if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED) exit(1);
    write32(0x4A695444);
    write32(1);
    write32(40);
    write32(62);
    write32(0);
    write32((uint32_t)getpid());
    write64(now());
    write64(0);
}

/* A function of three lines: the second one begins at byte `second`, the third one is the last instruction. */
static void tell(const char *name, const char *code, size_t bytes, unsigned line, unsigned second) {
    if (map != NULL) fprintf(map, "%lx %zx %s\n", (unsigned long)(uintptr_t)code, bytes, name);
    if (dump == NULL) return;
    const uint64_t address = (uint64_t)(uintptr_t)code;
    const char file[] = "source/compiled.src";
    prefix(2, 16 + 3 * (16 + sizeof file));
    write64(address);
    write64(3);
    write64(address + shift);
    write32(line);
    write32(0);
    fwrite(file, sizeof file, 1, dump);
    write64(address + second + shift);
    write32(line + 1);
    write32(0);
    fwrite(file, sizeof file, 1, dump);
    write64(address + bytes - 1 + shift);
    write32(line + 2);
    write32(0);
    fwrite(file, sizeof file, 1, dump);
    prefix(0, 40 + strlen(name) + 1 + bytes);
    write32((uint32_t)getpid());
    write32((uint32_t)syscall(SYS_gettid));
    write64(address);
    write64(address);
    write64(bytes);
    write64(codes++);
    fwrite(name, strlen(name) + 1, 1, dump);
    fwrite(code, bytes, 1, dump);
    fflush(dump);
}

__attribute__((noinline)) void *leave(size_t bytes) {
    void *block = malloc(bytes);
    __asm__ volatile("" ::"r"(block) : "memory");
    return block;
}

/* push %rbp; mov %rsp,%rbp; `padding` times nop; mov $bytes,%edi; movabs $leave,%rax; call *%rax; pop %rbp; ret */
static void compile(const char *own_name, char *at, uint32_t bytes, unsigned padding, unsigned line) {
    static const unsigned char head[] = {0x55, 0x48, 0x89, 0xE5}, tail[] = {0xFF, 0xD0, 0x5D, 0xC3};
    char *code = at, name[NAME];
    void *target = (void *)leave;
    snprintf(name, sizeof name, "%s%s", own_name, digit);
    memcpy(code, head, sizeof head);
    code += sizeof head;
    memset(code, 0x90, padding);
    code += padding;
    *code++ = (char)0xBF;
    memcpy(code, &bytes, 4);
    code += 4;
    *code++ = 0x48;
    *code++ = (char)0xB8;
    memcpy(code, &target, 8);
    code += 8;
    memcpy(code, tail, sizeof tail);
    code += sizeof tail;
    tell(name, at, (size_t)(code - at), line, (unsigned)sizeof head + padding);
}

/* The last caller is the caller's own, so that two calls have two stacks. */
__attribute__((noinline)) void run(const char *code) {
    void (*compiled)(void);
    memcpy(&compiled, &code, sizeof compiled);
    compiled();
    __asm__ volatile("");
}

static void pause_a_little(void) {
    struct timespec time = {.tv_nsec = 400000000};
    nanosleep(&time, NULL);
}

static void expect(unsigned bytes, const char *name, unsigned line) {
    const int is_told = (map != NULL || dump != NULL) && strcmp(name, "-") != 0;
    printf("%u %s%s %u\n", bytes, is_told ? name : "-", is_told ? digit : "", dump == NULL || shift > 0 ? 0 : line);
}

int main(int count, char **arguments) {
    char kind[NAME];
    snprintf(kind, sizeof kind, "%s", count > 1 ? arguments[1] : "map");
    const size_t length = strcspn(kind, "0123456789");
    digit = count > 1 ? arguments[1] + length : "";
    kind[length] = '\0';
    char *memory = mmap(NULL, 16 * CODE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    shift = strcmp(kind, "shifted") == 0 ? 64 : 0;
    if (strcmp(kind, "dump") == 0 || strcmp(kind, "both") == 0 || shift > 0) begin_dump(count > 2 ? arguments[2] : ".");
    if (strcmp(kind, "map") == 0 || strcmp(kind, "both") == 0) {
        char path[NAME];
        snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
        map = fopen(path, "w");
        if (map == NULL) return 1;
        setvbuf(map, NULL, _IOLBF, 0);
    }
    const int knows_times = dump != NULL;

    /* a function alone in its place, whose name has spaces */
    compile("steady /srv/app/steady.src:7", memory, 11000, 0, 10);
    run(memory);
    expect(11000, "steady /srv/app/steady.src:7", 11);

    /* two functions, one after the other: the first one's call is in both, the second one's behind the first one's end
     */
    compile("early", memory + CODE, 12000, 0, 20);
    run(memory + CODE);
    pause_a_little();
    compile("late", memory + CODE, 13000, 4, 30);
    run(memory + CODE);
    expect(12000, knows_times ? "early" : "-", 21);
    expect(13000, "late", 31);

    /* the same, from the same place: no time helps */
    compile("first", memory + 2 * CODE, 14000, 0, 40);
    run(memory + 2 * CODE);
    pause_a_little();
    compile("second", memory + 2 * CODE, 15000, 0, 50);
    run(memory + 2 * CODE);
    expect(14000, "-", 0);
    expect(15000, "-", 0);

    /* the same function again in its place, as a compiler does that compiled it twice */
    compile("again", memory + 3 * CODE, 16000, 0, 60);
    run(memory + 3 * CODE);
    compile("again", memory + 3 * CODE, 17000, 0, 60);
    run(memory + 3 * CODE);
    expect(16000, "again", 61);
    expect(17000, "again", 61);

    /* a function that moves, and another one in its old place, where its own calls were before */
    compile("moves", memory + 4 * CODE, 18000, 0, 70);
    run(memory + 4 * CODE);
    if (dump != NULL) {
        memcpy(memory + 5 * CODE, memory + 4 * CODE, CODE);
        prefix(1, 48);
        write32((uint32_t)getpid());
        write32((uint32_t)syscall(SYS_gettid));
        write64((uint64_t)(uintptr_t)memory + 5 * CODE);
        write64((uint64_t)(uintptr_t)memory + 4 * CODE);
        write64((uint64_t)(uintptr_t)memory + 5 * CODE);
        write64(27);
        write64(codes - 1);
        pause_a_little();
        run(memory + 5 * CODE);
        compile("follows", memory + 4 * CODE, 19000, 4, 80);
        run(memory + 4 * CODE);
        expect(19000, "follows", 81);
    }
    expect(18000, "moves", 71);

    if (dump != NULL) fflush(dump);
    fflush(stdout);
    if (count > 4 && strcmp(arguments[3], "exec") == 0) {
        execv(arguments[4], arguments + 4);
        return 1;
    }
    if (count > 3) {
        while (getchar() != EOF) {}
    }
    return 0;
}
