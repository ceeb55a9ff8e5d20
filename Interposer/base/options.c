/*
 * Parsing the environment's options, without libc's helpers that allocate or depend on the locale. An invalid value is
 * reported in HEAPSUM_MESSAGES and the default is used: a wrong option must not end somebody's program.
 */
#include "base/options.h"

#include <string.h>
#include <sys/auxv.h>

#include "base/glob.h"
#include "base/loader.h"
#include "base/maps.h"
#include "base/system.h"
#include "include/heap_image.h"

struct options options;

#ifdef OWN_UNWINDER
#define DEFAULT_UNWINDER HEAP_UNWINDER_OWN
#else
#define DEFAULT_UNWINDER HEAP_UNWINDER_LIBUNWIND
#endif

static const char *value_of(char **env, const char *name) {
    size_t length = strlen(name);
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, name, length) == 0 && (*env)[length] == '=') return *env + length + 1;
    return NULL;
}

void message(const char *first, const char *second) {
    if (options.messages[0] == '\0' || !system_may_write()) return;
    /* A full pipe must not make the program wait: the line is dropped then. */
    int fd = system_open(
        options.messages, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0) return;
    struct iovec parts[] = {
        {(char *)"heapsum: ", 9},
        {(char *)first, strlen(first)},
        {(char *)second, strlen(second)},
        {(char *)"\n", 1},
    };
    /* one call, so that lines of several processes don't mix; there is nobody to tell if it fails */
    system_writev(fd, parts, 4);
    system_close(fd);
}

static bool parse_number(const char *text, uint64_t most, uint64_t *number) {
    uint64_t value = 0;
    if (*text == '\0') return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) return false;
    }
    if (*text != '\0' || value > most) return false;
    *number = value;
    return true;
}

static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; }

/* Whether the text begins with the word, ignoring case, or equals it. */
static bool starts_word(const char *text, const char *word) {
    for (; *word != '\0'; text++, word++)
        if (upper(*text) != upper(*word)) return false;
    return true;
}
static bool same_word(const char *text, const char *word) {
    return strlen(text) == strlen(word) && starts_word(text, word);
}

/* glibc reserves the kernel's first two real-time signals. SIGRTMIN itself is a call into libc. */
#define LAST_STANDARD 31
#define FIRST_REALTIME 34
#define LAST_SIGNAL 64

/* A signal's number, from a number or from a name as kill(1) takes it (heaprun passes numbers). 0 for "none", -1 if it
 * is no signal. */
static int parse_signal(const char *text) {
    static const struct {
        const char *name;
        int number;
    } names[] = {
        {"HUP", SIGHUP},
        {"INT", SIGINT},
        {"QUIT", SIGQUIT},
        {"USR1", SIGUSR1},
        {"USR2", SIGUSR2},
        {"PIPE", SIGPIPE},
        {"ALRM", SIGALRM},
        {"TERM", SIGTERM},
        {"CHLD", SIGCHLD},
        {"CLD", SIGCHLD},
        {"CONT", SIGCONT},
        {"TSTP", SIGTSTP},
        {"TTIN", SIGTTIN},
        {"TTOU", SIGTTOU},
        {"URG", SIGURG},
        {"XCPU", SIGXCPU},
        {"XFSZ", SIGXFSZ},
        {"VTALRM", SIGVTALRM},
        {"PROF", SIGPROF},
        {"WINCH", SIGWINCH},
        {"IO", SIGIO},
        {"POLL", SIGIO},
        {"PWR", SIGPWR},
        {"STKFLT", SIGSTKFLT},
        {"TRAP", SIGTRAP},
        {"SYS", SIGSYS},
        {"ABRT", SIGABRT},
        {"ILL", SIGILL},
        {"BUS", SIGBUS},
        {"FPE", SIGFPE},
        {"SEGV", SIGSEGV},
    };
    uint64_t number;
    if (same_word(text, "none")) return 0;
    if (starts_word(text, "SIG")) text += 3;
    if (parse_number(text, LAST_SIGNAL, &number))
        return number > LAST_STANDARD && number < FIRST_REALTIME ? -1 : (int)number;
    if (starts_word(text, "RTMIN")) {
        if (text[5] == '\0') return FIRST_REALTIME;
        if (text[5] == '+' && parse_number(text + 6, LAST_SIGNAL - FIRST_REALTIME, &number))
            return FIRST_REALTIME + (int)number;
    }
    if (starts_word(text, "RTMAX")) {
        if (text[5] == '\0') return LAST_SIGNAL;
        if (text[5] == '-' && parse_number(text + 6, LAST_SIGNAL - FIRST_REALTIME, &number))
            return LAST_SIGNAL - (int)number;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (same_word(text, names[i].name)) return names[i].number;
    return -1;
}

/* Whether the program's name matches one of the globs in a ':'-separated list. */
static bool matches(const char *list, const char *name) {
    char glob[256];
    while (*list != '\0') {
        size_t length = strcspn(list, ":");
        if (length > 0 && length < sizeof glob) {
            memcpy(glob, list, length);
            glob[length] = '\0';
            if (glob_matches(glob, name)) return true;
        }
        list += length + (list[length] == ':');
    }
    return false;
}

/* The same for the program, by its file's name or by the name that it was called by, which may be a link's. */
static bool matches_program(const char *list) {
    const char *called = (const char *)loader_auxiliary(AT_EXECFN);
    const char *base = called != NULL ? strrchr(called, '/') : NULL;
    if (base != NULL) called = base + 1;
    return matches(list, options.name) || (called != NULL && matches(list, called));
}

/* Whether our parent runs with HEAPSUM_FOLLOW=0 too: this process is a child then, not the first program. */
static bool parent_was_first(void) {
    static const char wanted[] = "HEAPSUM_FOLLOW=0";
    char path[40] = "/proc/", buffer[4096 + sizeof wanted];
    char digits[12];
    size_t n = 0, at = strlen(path), kept = 0;
    for (uint32_t parent = system_parent(); parent > 0; parent /= 10) digits[n++] = (char)('0' + parent % 10);
    while (n > 0) path[at++] = digits[--n];
    memcpy(path + at, "/environ", 9);
    int fd = system_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return false;
    bool found = false;
    long got;
    while (!found && (got = system_read(fd, buffer + kept, 4096)) > 0) {
        size_t have = kept + (size_t)got;
        found = memmem(buffer, have, wanted, sizeof wanted) != NULL; /* with its NUL */
        kept = have < sizeof wanted - 1 ? have : sizeof wanted - 1;
        memmove(buffer, buffer + have - kept, kept);
    }
    system_close(fd);
    return found;
}

static void read_program(void) {
    struct mapping mapping;
    bool is_mapped = loader_is_explicit()
        && maps_find(loader_auxiliary(AT_PHDR), &mapping, options.program, sizeof options.program)
        && options.program[0] == '/';
    long length = is_mapped ? (long)strlen(options.program)
                            : system_read_link("/proc/self/exe", options.program, sizeof options.program - 1);
    /* Without its first thread a process has that link no more. Under qemu this one leads to qemu itself. */
    if (length <= 0) length = system_read_link("/proc/thread-self/exe", options.program, sizeof options.program - 1);
    if (length <= 0) {
        const char *executable = (const char *)loader_auxiliary(AT_EXECFN);
        if (executable == NULL) executable = "unknown";
        length = (long)strnlen(executable, sizeof options.program - 1);
        memcpy(options.program, executable, (size_t)length);
    }
    options.program[length] = '\0';
    const char *base = strrchr(options.program, '/');
    base = base != NULL ? base + 1 : options.program;
    size_t base_length = strnlen(base, sizeof options.name - 1);
    memcpy(options.name, base, base_length);
    options.name[base_length] = '\0';
}

/* Copies a directory's path, made absolute; false if it does not fit. */
static bool copy_directory(char *to, size_t room, const char *path) {
    size_t at = 0;
    if (path[0] != '/') {
        if (system_working_directory(to, room - 1) <= 0 || to[0] != '/') return false;
        at = strlen(to);
        if (path[0] == '\0' || strcmp(path, ".") == 0) return true;
        to[at++] = '/';
    }
    size_t length = strlen(path);
    if (at + length >= room) return false;
    memcpy(to + at, path, length + 1);
    return true;
}

bool options_only_change(char **env) {
    const char *value = value_of(env, "HEAPSUM_CHANGE");
    return value != NULL && strcmp(value, "1") == 0;
}

void options_change(char **env) {
    const char *value = value_of(env, "HEAPSUM_SAMPLE");
    uint64_t number;
    options.sample = 0;
    if (value == NULL) return;
    if (parse_number(value, HEAP_SAMPLE_MOST, &number)) options.sample = number;
    else message("HEAPSUM_SAMPLE is not a number of bytes from 0 to 1073741824, so all is recorded: ", value);
}

void options_read(char **env) {
    options = (struct options){.record = true,
        .follow = true,
        .signal = SIGUSR2,
        .depth = OPTIONS_DEPTH_DEFAULT,
        .unwinder = DEFAULT_UNWINDER,
        .maximum_stacks = OPTIONS_STACKS_BY_MEMORY};
    read_program();
    if (loader_auxiliary(AT_SECURE) != 0) {
        options.record = false;
        return;
    }
    const char *value;
    uint64_t number;
    if ((value = value_of(env, "HEAPSUM_MESSAGES")) != NULL && strlen(value) < sizeof options.messages)
        memcpy(options.messages, value, strlen(value) + 1);
    value = value_of(env, "HEAPSUM_OUTPUT");
    /* a static program has the library in each of its runs: one of these variables asks for a recording */
    if (value == NULL && loader_is_static() && value_of(env, "HEAPSUM_DORMANT") == NULL) {
        options.record = false;
        return;
    }
    if (!copy_directory(options.output, sizeof options.output, value != NULL ? value : "")) {
        options.output[0] = '\0';
        message("the output directory can't be named; images go to shared memory: ", value != NULL ? value : ".");
    }
    if ((value = value_of(env, "HEAPSUM_RUN_DIR")) != NULL
        && !copy_directory(options.run_dir, sizeof options.run_dir, value))
        options.run_dir[0] = '\0';
    if ((value = value_of(env, "HEAPSUM_DEPTH")) != NULL) {
        if (parse_number(value, OPTIONS_DEPTH_MOST, &number)) options.depth = (uint32_t)number;
        else message("HEAPSUM_DEPTH is not a number from 0 to 1024: ", value);
    }
    if ((value = value_of(env, "HEAPSUM_SIGNAL")) != NULL) {
        int signal = parse_signal(value);
        if (signal >= 0 && signal != SIGKILL && signal != SIGSTOP) {
            options.signal = signal;
            options.signal_chosen = true;
        } else {
            message("HEAPSUM_SIGNAL names no signal that can be handled: ", value);
        }
    }
    if ((value = value_of(env, "HEAPSUM_MAX_SIZE")) != NULL) {
        if (parse_number(value, UINT64_MAX, &number)) options.maximum_bytes = number;
        else message("HEAPSUM_MAX_SIZE is not a number of bytes: ", value);
    }
    if ((value = value_of(env, "HEAPSUM_MAX_STACKS")) != NULL) {
        if (parse_number(value, INT64_MAX, &number)) options.maximum_stacks = number;
        else message("HEAPSUM_MAX_STACKS is not a number of stacks: ", value);
    }
    if ((value = value_of(env, "HEAPSUM_DUMP_AT_GROWTH")) != NULL) {
        if (parse_number(value, INT64_MAX, &number)) options.dump_growth = number;
        else message("HEAPSUM_DUMP_AT_GROWTH is not a number of bytes: ", value);
    }
    options_change(env);
    options.sample_seed = 0;
    if ((value = value_of(env, "HEAPSUM_SAMPLE_SEED")) != NULL && parse_number(value, UINT64_MAX, &number))
        options.sample_seed = number;
    value = value_of(env, "HEAPSUM_DUMP_AT_FAILURE");
    options.dump_at_failure = value != NULL && strcmp(value, "1") == 0;
    if ((value = value_of(env, "HEAPSUM_UNWIND")) != NULL) {
        if (strcmp(value, "libunwind") == 0) options.unwinder = HEAP_UNWINDER_LIBUNWIND;
        else if (DEFAULT_UNWINDER == HEAP_UNWINDER_OWN && strcmp(value, "fp") == 0) options.unwinder = HEAP_UNWINDER_FP;
        else if (DEFAULT_UNWINDER != HEAP_UNWINDER_OWN || strcmp(value, "own") != 0)
            message("HEAPSUM_UNWIND is not own, fp or libunwind: ", value);
    }
    value = value_of(env, "HEAPSUM_VERIFY");
    options.verify = value != NULL && strcmp(value, "1") == 0;
    value = value_of(env, "HEAPSUM_CHECK");
    options.check = value != NULL && strcmp(value, "1") == 0;
    value = value_of(env, "HEAPSUM_LEAKS");
    options.tells_end = value != NULL && strcmp(value, "1") == 0;
    value = value_of(env, "HEAPSUM_MAPPINGS");
    options.mappings = value != NULL && strcmp(value, "1") == 0;
    value = value_of(env, "HEAPSUM_VALGRIND_REQUESTS");
    options.requests = options.mappings && value != NULL && strcmp(value, "1") == 0;
    value = value_of(env, "HEAPSUM_PYTHON");
    options.python = value != NULL && strcmp(value, "1") == 0;
    if ((value = value_of(env, "HEAPSUM_OTEL_CONTEXT")) != NULL) {
        if (strlen(value) < sizeof options.otel_context) memcpy(options.otel_context, value, strlen(value) + 1);
        else message("HEAPSUM_OTEL_CONTEXT is longer than an attribute's name may be: ", value);
    }
    value = value_of(env, "HEAPSUM_DORMANT");
    options.dormant = value != NULL && strcmp(value, "1") == 0;
    value = value_of(env, "HEAPSUM_THREADS");
    options.threads = value != NULL && strcmp(value, "1") == 0;
    if ((value = value_of(env, "HEAPSUM_ONLY")) != NULL && !matches_program(value)) options.record = false;
    if ((value = value_of(env, "HEAPSUM_SKIP")) != NULL && matches_program(value)) options.record = false;
    value = value_of(env, "HEAPSUM_FOLLOW");
    options.follow = value == NULL || strcmp(value, "0") != 0;
    if (!options.follow && parent_was_first()) options.record = false;
}
