/*
 * By the head of the program's file, found as the kernel and execvp find it.
 */
#include "hooks/foreign.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

#include "base/loader.h"
#include "base/machine.h"
#include "base/symbols.h"
#include "base/system.h"

#define HEAD_BYTES 256  /* of a file: an ELF header, or a script's first line as far as the kernel reads it */
#define PART_BYTES 1024 /* of a path: what goes beyond is not looked at */
#define SCRIPT_LEVELS 5 /* a script's interpreter may be a script: the kernel follows so many (fs/exec.c) */

/* The length of what stands at `at` before either of two bytes, or the end. */
static size_t length_before(const char *at, char one, char other) {
    size_t length = 0;
    while (at[length] != '\0' && at[length] != one && at[length] != other) length++;
    return length;
}

/* ---- Locks --------------------------------------------------------------------------------------------- */

#define LOCKS_MOST (64u << 10) /* bytes of /proc/locks that are read; where there are more, a file counts as locked */

/* Whether a line of /proc/locks ("1: POSIX  ADVISORY  WRITE 4711 fe:00:12345 0 EOF") is a POSIX lock of this process.
 */
static bool is_own_lock(const char *line, uint32_t process) {
    const char *at = memmem(line, strlen(line), "POSIX ", 6);
    for (int field = 0; at != NULL && field < 3; field++) { /* to the number behind POSIX, ADVISORY and WRITE */
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
    if (fd < 0) return false; /* there is no /proc here: nothing tells */
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

/* ---- Heads --------------------------------------------------------------------------------------------- */

static bool read_head(int fd, char head[HEAD_BYTES]) {
    memset(head, 0, HEAD_BYTES);
    return system_pread(fd, head, HEAD_BYTES - 1, 0) > 0;
}

/* Of a regular file that may be executed. Nothing else is opened: a FIFO would let a waiting writer through. */
static bool read_head_of(int directory, const char *path, char head[HEAD_BYTES]) {
    struct stat status;
    if (system_stat_at(directory, path, &status) < 0 || !S_ISREG(status.st_mode)) return false;
    if (system_access_at(directory, path, X_OK) < 0) return false;
    int fd = system_open_at(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return false;
    bool is_read = read_head(fd, head);
    system_close(fd);
    return is_read;
}

/* The head of what execvp would start: the first of its name, in PATH's order, that may be executed. */
static bool read_head_in_path(const char *name, char head[HEAD_BYTES]) {
    char path[PART_BYTES];
    const char *list = "/bin:/usr/bin"; /* where there is no PATH (confstr, _CS_PATH) */
    size_t length = strlen(name);
    char **env = loader_environment();
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, "PATH=", 5) == 0) list = *env + 5;
    for (const char *at = list;;) {
        size_t directory = length_before(at, ':', ':');
        if (directory + length + 2 > sizeof path) return false; /* what would be found is not known */
        memcpy(path, at, directory);
        if (directory > 0) path[directory++] = '/'; /* an empty part is the working directory */
        memcpy(path + directory, name, length + 1);
        if (read_head_of(AT_FDCWD, path, head)) return true;
        at += length_before(at, ':', ':');
        if (*at == '\0') return false;
        at++;
    }
}

static bool is_foreign_file(const char head[HEAD_BYTES]) {
    ElfW(Ehdr) elf;
    memcpy(&elf, head, sizeof elf);
    return memcmp(elf.e_ident, ELFMAG, SELFMAG) == 0
        && (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != MACHINE_ELF);
}

/* Puts the interpreter's head in the place of a script's; false where it is no script, or has none that can be read. */
static bool follow_script(char head[HEAD_BYTES]) {
    if (head[0] != '#' || head[1] != '!') return false;
    char *interpreter = head + 2;
    while (*interpreter == ' ' || *interpreter == '\t') interpreter++;
    interpreter[length_before(interpreter, '\n', '\n')] = '\0';
    interpreter[length_before(interpreter, ' ', '\t')] = '\0';
    char path[HEAD_BYTES];
    memcpy(path, interpreter, strlen(interpreter) + 1);
    return path[0] != '\0' && read_head_of(AT_FDCWD, path, head);
}

bool foreign_program(const struct started *started) {
    char head[HEAD_BYTES];
    const char *path = started->path;
    size_t length;
    if (!system_may_look() || path == NULL || !memory_string_length(path, PART_BYTES, &length)) return false;
    if (may_hold_locks()) return false;
    bool is_read = length == 0                                 ? read_head(started->directory, head)
        : started->search && memchr(path, '/', length) == NULL ? read_head_in_path(path, head)
                                                               : read_head_of(started->directory, path, head);
    for (int level = 0; is_read && level < SCRIPT_LEVELS; level++)
        if (!follow_script(head)) return is_foreign_file(head);
    return false;
}
