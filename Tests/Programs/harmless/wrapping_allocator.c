/* An allocator to be preloaded that wraps sigaction, too, as sanitizers do: its blocks have no header of glibc's in
 * front of them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

static char *at;
static size_t left;

void *malloc(size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    if (left < bytes + 16) {
        left = bytes + (1 << 20);
        at = mmap(NULL, left, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    *(size_t *)at = bytes;
    void *block = at + 16;
    at += bytes + 16;
    left -= bytes + 16;
    return block;
}
void free(void *block) { (void)block; }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
size_t malloc_usable_size(void *block) { return block != NULL ? ((size_t *)block)[-2] : 0; }
void *realloc(void *block, size_t bytes) {
    void *moved = malloc(bytes);
    size_t held = malloc_usable_size(block);
    if (block != NULL) memcpy(moved, block, held < bytes ? held : bytes);
    return moved;
}
int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
    static int (*next)(int, const struct sigaction *, struct sigaction *);
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "sigaction");
    return next(number, action, before);
}
