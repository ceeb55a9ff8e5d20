/* A program with a malloc of its own, which lacks what is newer or rarer: libc's reallocarray calls the program's
 * realloc. A block that is not its own ends it. */
#include <stddef.h>
#include <string.h>
#include <unistd.h>

extern void *reallocarray(void *, size_t, size_t);
extern void free_sized(void *, size_t) __attribute__((weak));
extern void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));

static char heap[1 << 22];
static size_t used;

static void check(const void *block) {
    if (block == NULL || ((const char *)block >= heap && (const char *)block < heap + sizeof heap)) return;
    _exit(write(2, "not a block of mine\n", 20) == 20 ? 66 : 67);
}
void *malloc(size_t bytes) {
    size_t *block = (size_t *)(heap + used);
    used += (bytes + 31) & ~(size_t)15;
    block[0] = bytes;
    return block + 2;
}
void free(void *block) { check(block); }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *block, size_t bytes) {
    check(block);
    void *moved = malloc(bytes);
    size_t old = block != NULL ? ((size_t *)block)[-2] : 0;
    if (block != NULL) memcpy(moved, block, old < bytes ? old : bytes);
    return moved;
}

int main(void) {
    void *block = reallocarray(malloc(10), 10, 10);
    block = reallocarray(block, 100, 10);
    if (free_sized != NULL) free_sized(block, 1000);
    else free(block);
    block = malloc(64);
    if (free_aligned_sized != NULL) free_aligned_sized(block, 16, 64);
    free(reallocarray(NULL, 2, 3));
    return write(1, "done\n", 5) != 5;
}
