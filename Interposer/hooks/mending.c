/*
 * Looking at LD_PRELOAD, and at the program that it is for.
 */
#include "hooks/mending.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/machine.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/system.h"
#include "image/image.h"
#include "threads/hook.h"

static const char variable[] = "LD_PRELOAD=";
static const char sanitizer[] = "ASAN_OPTIONS=", link_order[] = "verify_asan_link_order";

/* ---- The list ----------------------------------------------------------------------------------------- */

/* The length of what stands at `at` before either of two bytes, or the end. */
static size_t length_before(const char *at, char one, char other) {
    size_t length = 0;
    while (at[length] != '\0' && at[length] != one && at[length] != other) length++;
    return length;
}

/* The length of the list's entry at `at`. */
static size_t entry_length(const char *at) { return length_before(at, ':', ' '); }

/* Whether an entry is the path of this library, whatever its name, or of one of those beside it. */
static bool is_ours(const char *entry, size_t length) {
    static const char name[] = "libheapsum";
    const char *own = loader_own_path();
    if (own != NULL && strlen(own) == length && memcmp(own, entry, length) == 0) return true;
    const char *file = entry + length;
    while (file > entry && file[-1] != '/') file--;
    return file > entry && (size_t)(entry + length - file) >= sizeof name - 1
        && memcmp(file, name, sizeof name - 1) == 0;
}

/* Whether there is a file that the loader can read, or what stands in the way is only that this process has no
 * descriptor left. */
static bool can_be_read(const char *path) {
    char byte;
    int fd = system_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) return fd == -EMFILE || fd == -ENFILE || fd == -EINTR;
    bool is_file = system_pread(fd, &byte, 1, 0) == 1;
    system_close(fd);
    return is_file;
}

/*
 * Whether an entry is ours, and leads to nothing from here. What a filter of this process's would end the next program
 * for, it asks for at its start: so the library counts as out of reach then.
 */
static bool is_unreachable(const char *entry, size_t length) {
    char path[512];
    if (!is_ours(entry, length)) return false;
    if (!system_may_look() || !system_may_write()) return true;
    /* $LIB and its kin are the loader's to fill in */
    if (length >= sizeof path || memchr(entry, '$', length) != NULL) return false;
    memcpy(path, entry, length);
    path[length] = '\0';
    return !can_be_read(path);
}

static bool names_ours(const char *list, bool *unreachable) {
    bool ours = false;
    size_t length;
    for (const char *at = list; *at != '\0'; at += length > 0 ? length : 1) {
        length = entry_length(at);
        if (length == 0 || !is_ours(at, length)) continue;
        ours = true;
        if (is_unreachable(at, length)) *unreachable = true;
    }
    return ours;
}

/* Writes the variable without our entries, to where it stands or elsewhere. */
static void write_others(const char *from, char *to) {
    memmove(to, variable, sizeof variable - 1);
    to += sizeof variable - 1;
    char *start = to;
    size_t length;
    for (const char *at = from + sizeof variable - 1; *at != '\0'; at += length > 0 ? length : 1) {
        length = entry_length(at);
        if (length == 0 || is_ours(at, length)) continue;
        if (to > start) *to++ = ':';
        memmove(to, at, length);
        to += length;
    }
    *to = '\0';
}

/* Writes the sanitizer's options with one more. */
static void write_options(const char *from, char *to) {
    size_t length = strlen(from);
    memcpy(to, from, length);
    if (from[length - 1] != '=') to[length++] = ':';
    memcpy(to + length, link_order, sizeof link_order - 1);
    memcpy(to + length + sizeof link_order - 1, "=0", 3);
}

/* ---- The program --------------------------------------------------------------------------------------- */

#define HEAD_BYTES 256 /* of a file: an ELF header, or a script's first line as far as the kernel reads it */

static bool read_head(int fd, char head[HEAD_BYTES]) {
    memset(head, 0, HEAD_BYTES);
    return system_pread(fd, head, HEAD_BYTES - 1, 0) > 0;
}

static bool read_head_of(int directory, const char *path, char head[HEAD_BYTES]) {
    int fd = system_open_at(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return false;
    bool is_read = read_head(fd, head);
    system_close(fd);
    return is_read;
}

/* The head of what execvp would start. */
static bool read_head_in_path(const char *name, char head[HEAD_BYTES]) {
    char path[512];
    size_t length = strlen(name);
    char **env = loader_environment();
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, "PATH=", 5) == 0) break;
    if (env == NULL || *env == NULL) return false;
    for (const char *at = *env + 5; *at != '\0';) {
        size_t directory = length_before(at, ':', ':');
        if (directory > 0 && directory + length + 2 <= sizeof path) {
            memcpy(path, at, directory);
            path[directory] = '/';
            memcpy(path + directory + 1, name, length + 1);
            if (read_head_of(AT_FDCWD, path, head)) return true;
        }
        at += directory + (at[directory] == ':');
    }
    return false;
}

static bool is_foreign_file(const char head[HEAD_BYTES]) {
    ElfW(Ehdr) elf;
    memcpy(&elf, head, sizeof elf);
    return memcmp(elf.e_ident, ELFMAG, SELFMAG) == 0
        && (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != MACHINE_ELF);
}

/* Whether the program's loader could not load a library of this architecture: it is another's, or a script for one of
 * another's. */
static bool is_foreign(const struct started *started) {
    char head[HEAD_BYTES];
    const char *path = started->path;
    if (!system_may_look() || path == NULL || !memory_is_readable((uintptr_t)path & ~(uintptr_t)7)) return false;
    bool is_read = path[0] == '\0'                                   ? read_head(started->directory, head)
        : started->search && memchr(path, '/', strlen(path)) == NULL ? read_head_in_path(path, head)
                                                                     : read_head_of(started->directory, path, head);
    if (!is_read || head[0] != '#' || head[1] != '!') return is_read && is_foreign_file(head);
    char *interpreter = head + 2;
    while (*interpreter == ' ' || *interpreter == '\t') interpreter++;
    interpreter[length_before(interpreter, '\n', '\n')] = '\0';
    interpreter[length_before(interpreter, ' ', '\t')] = '\0';
    char its_head[HEAD_BYTES];
    return interpreter[0] != '\0' && read_head_of(AT_FDCWD, interpreter, its_head) && is_foreign_file(its_head);
}

/* ---- Both ---------------------------------------------------------------------------------------------- */

struct mending mending_of(char *const *env, const struct started *started) {
    const struct mending nothing = {-1, -1, 0, 0};
    struct mending mending = nothing;
    if (env == NULL) return mending;
    bool unreachable = false, ours = false;
    for (;; mending.count++) {
        char *const *entry = &env[mending.count];
        /* What can't be read is the next function's to answer: the kernel says EFAULT. */
        if (!memory_is_readable((uintptr_t)entry)) return nothing;
        if (*entry == NULL) break;
        if (!memory_is_readable((uintptr_t)*entry & ~(uintptr_t)7)) return nothing;
        if (strncmp(*entry, variable, sizeof variable - 1) == 0) {
            ours = names_ours(*entry + sizeof variable - 1, &unreachable);
            mending.preload = (ptrdiff_t)mending.count;
        } else if (strncmp(*entry, sanitizer, sizeof sanitizer - 1) == 0
            && memmem(*entry, strlen(*entry), link_order, sizeof link_order - 1) == NULL) {
            mending.sanitizer = (ptrdiff_t)mending.count;
        }
    }
    bool foreign = ours && !unreachable && is_foreign(started);
    if (!ours || unreachable || foreign) mending.sanitizer = -1;
    if (!unreachable && !foreign) mending.preload = -1;
    if (mending.preload < 0 && mending.sanitizer < 0) return nothing;
    mending.bytes = (mending.count + 1) * sizeof *env;
    if (mending.preload >= 0) mending.bytes += strlen(env[mending.preload]) + 1;
    if (mending.sanitizer >= 0) mending.bytes += strlen(env[mending.sanitizer]) + sizeof link_order + 3;
    if (mending.preload >= 0) {
        if (load_acquire(&hook_live.word) != 0) or_relaxed(&image.header->flags, HEAP_FLAG_UNREACHED);
        message(foreign ? "not recorded, as it is a program for another processor: "
                        : "not recorded, as the library can't be reached from where it runs: ",
            started->path == NULL || started->path[0] == '\0' ? "an open file" : started->path);
    }
    return mending;
}

char *const *mend(char *const *env, const struct mending *mending, void *space) {
    char **mended = space;
    char *texts = (char *)(mended + mending->count + 1);
    memcpy(mended, env, (mending->count + 1) * sizeof *mended);
    if (mending->sanitizer >= 0) {
        write_options(env[mending->sanitizer], texts);
        mended[mending->sanitizer] = texts;
        texts += strlen(texts) + 1;
    }
    if (mending->preload >= 0) {
        char **entry = &mended[mending->preload];
        write_others(*entry, texts);
        if (texts[sizeof variable - 1] != '\0') *entry = texts;
        /* we alone were in it: without us there is none */
        else memmove(entry, entry + 1, (size_t)(&mended[mending->count] - entry) * sizeof *entry);
    }
    return mended;
}

void mend_in_place(char **env) {
    struct mending mending = mending_of(env, &(struct started){"/bin/sh", AT_FDCWD, false});
    if (mending.preload < 0) return;
    char *text = env[mending.preload];
    if (system_touch((void *)((uintptr_t)text & ~(uintptr_t)3)) >= 0) write_others(text, text);
}
