/*
 * Judging a program by the first bytes of its file, which is found as the kernel and execvp find it.
 */
#include "hooks/foreign.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/machine.h"
#include "base/symbols.h"
#include "base/system.h"

#define HEAD_BYTES 256  /* of a file: an ELF header, or the part of a script's first line that the kernel reads */
#define PART_BYTES 1024 /* of a path: a longer one is not examined */
#define SCRIPT_LEVELS 5 /* nested scripts that the kernel follows (fs/exec.c) */

/* The length of the text at `at` before either of two bytes, or before its end. */
static size_t length_before(const char *at, char one, char other) {
    size_t length = 0;
    while (at[length] != '\0' && at[length] != one && at[length] != other) length++;
    return length;
}

/* ---- Locks --------------------------------------------------------------------------------------------- */

#define LOCKS_MOST (64u << 10) /* bytes of /proc/locks that are read; if it is longer, files count as locked */

/* Whether a line of /proc/locks ("1: POSIX  ADVISORY  WRITE 4711 fe:00:12345 0 EOF") is a POSIX lock of this process.
 */
static bool is_own_lock(const char *line, uint32_t process) {
    const char *at = memmem(line, strlen(line), "POSIX ", 6);
    for (int field = 0; at != NULL && field < 3; field++) { /* to the number after POSIX, ADVISORY and WRITE */
        at = strchr(at, ' ');
        while (at != NULL && *at == ' ') at++;
    }
    uint32_t number = 0;
    for (; at != NULL && *at >= '0' && *at <= '9'; at++) number = number * 10 + (uint32_t)(*at - '0');
    return at != NULL && number == process;
}

/* Whether this process may have POSIX locks on any file. */
static bool may_hold_locks(void) {
    int fd = system_open("/proc/locks", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return false; /* there is no /proc here */
    const uint32_t process = system_process();
    char buffer[256], line[96];
    size_t length = 0, total = 0;
    bool holds = false;
    long got;
    while (!holds && (got = system_read(fd, buffer, sizeof buffer)) > 0) {
        for (long i = 0; i < got && !holds; i++) {
            if (buffer[i] != '\n') {
                if (length + 1 < sizeof line) line[length++] = buffer[i];
                continue;
            }
            line[length] = '\0';
            length = 0;
            holds = is_own_lock(line, process);
        }
        total += (size_t)got;
        if (total > LOCKS_MOST) holds = true;
    }
    system_close(fd);
    return holds;
}

/* ---- Answers ------------------------------------------------------------------------------------------- */

enum answer { NO_FILE = 0, NATIVE = 1, FOREIGN = 2, UNKNOWN = 3 };

/*
 * The results, by the file's identity, so that a file is opened once and not at each start: if another thread forks
 * meanwhile, the child inherits the descriptor. A word holds a hash of 62 bits and the answer.
 */
#define ANSWERS 64
static uint64_t answers[ANSWERS];

/* A file's word, without the answer. */
static uint64_t identity(const struct stat *status) {
    const uint64_t words[] = {status->st_dev, status->st_ino, (uint64_t)status->st_size,
        (uint64_t)status->st_ctim.tv_sec, (uint64_t)status->st_ctim.tv_nsec, (uint64_t)status->st_mtim.tv_nsec};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        hash = (hash ^ words[i]) * 0x9E3779B97F4A7C15u; /* Fibonacci hashing: 2^64 / the golden ratio */
        hash ^= hash >> 29;
    }
    return hash & ~(uint64_t)3;
}

static enum answer known(uint64_t identity) {
    uint64_t word = load_relaxed(&answers[identity >> 32 & (ANSWERS - 1)]);
    return (word & ~(uint64_t)3) == identity ? (enum answer)(word & 3) : NO_FILE;
}

/* ---- Heads --------------------------------------------------------------------------------------------- */

static enum answer answer_of_file(int directory, const char *path, int level);

/* The answer for a file with this head: an ELF file, or a script, of which the kernel starts the interpreter. */
static enum answer answer_of_head(char head[HEAD_BYTES], int level) {
    if (head[0] == '#' && head[1] == '!') {
        char *interpreter = head + 2;
        while (*interpreter == ' ' || *interpreter == '\t') interpreter++;
        interpreter[length_before(interpreter, '\n', '\n')] = '\0';
        interpreter[length_before(interpreter, ' ', '\t')] = '\0';
        return interpreter[0] == '\0' || level == SCRIPT_LEVELS ? UNKNOWN
                                                                : answer_of_file(AT_FDCWD, interpreter, level + 1);
    }
    ElfW(Ehdr) elf;
    memcpy(&elf, head, sizeof elf);
    if (memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) return UNKNOWN;
    return elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != MACHINE_ELF ? FOREIGN : NATIVE;
}

static enum answer answer_of_descriptor(int fd, int level) {
    char head[HEAD_BYTES] = {0};
    return system_pread(fd, head, HEAD_BYTES - 1, 0) > 0 ? answer_of_head(head, level) : UNKNOWN;
}

/* The answer for a regular file that may be executed. Nothing else is opened: opening a FIFO would wake its writer. */
static enum answer answer_of_file(int directory, const char *path, int level) {
    struct stat status;
    if (system_stat_at(directory, path, &status) < 0 || !S_ISREG(status.st_mode)) return NO_FILE;
    if (system_access_at(directory, path, X_OK) < 0) return NO_FILE;
    uint64_t file = identity(&status);
    enum answer answer = known(file);
    if (answer != NO_FILE) return answer;
    /* Closing the file would drop the process's own locks on it. */
    if (may_hold_locks()) return UNKNOWN;
    int fd = system_open_at(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return UNKNOWN;
    answer = answer_of_descriptor(fd, level);
    system_close(fd);
    store_relaxed(&answers[file >> 32 & (ANSWERS - 1)], file | answer);
    return answer;
}

/* The answer for the program that execvp would start: the first executable file of that name in PATH. */
static enum answer answer_in_path(const char *name) {
    char path[PART_BYTES];
    const char *list = "/bin:/usr/bin"; /* without PATH (confstr, _CS_PATH) */
    size_t length = strlen(name);
    char **env = loader_environment();
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, "PATH=", 5) == 0) list = *env + 5;
    for (const char *at = list;;) {
        size_t directory = length_before(at, ':', ':');
        if (directory + length + 2 > sizeof path) return UNKNOWN;
        memcpy(path, at, directory);
        if (directory > 0) path[directory++] = '/'; /* an empty part means the working directory */
        memcpy(path + directory, name, length + 1);
        enum answer answer = answer_of_file(AT_FDCWD, path, 0);
        if (answer != NO_FILE) return answer;
        at += length_before(at, ':', ':');
        if (*at == '\0') return NO_FILE;
        at++;
    }
}

bool foreign_program(const struct started *started) {
    const char *path = started->path;
    size_t length;
    if (!system_may_look() || path == NULL || !memory_string_length(path, PART_BYTES, &length)) return false;
    if (length == 0) return answer_of_descriptor(started->directory, 0) == FOREIGN;
    if (started->search && memchr(path, '/', length) == NULL) return answer_in_path(path) == FOREIGN;
    return answer_of_file(started->directory, path, 0) == FOREIGN;
}
