/* The corners of the allocation functions, as libc has them: printed, so that a recorded run can be held against a
 * plain one. Leaves exactly four blocks, of 0, 24, 24 and 100 bytes, in leave(). */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *volatile kept[4];
static volatile size_t huge = SIZE_MAX / 2 + 4096; /* volatile: the compiler would know better */
static volatile size_t zero = 0, two = 2;

static void say(const char *what, int null, int error) {
    printf("%s: %s, errno %d\n", what, null ? "NULL" : "a block", error);
}

#define TRY(call) \
    do { \
        errno = 0; \
        void *block = (call); \
        int error = errno; \
        say(#call, block == NULL, error); \
        if (block != NULL) free(block); \
    } while (0)

__attribute__((noinline)) static void leave(void) {
    char *block = malloc(24), *other = malloc(24);
    memset(block, 7, 24);
    errno = 0;
    void *failed = realloc(block, huge);
    say("realloc to more than there is", failed == NULL, errno);
    printf("the block stands: %d\n", block[0] == 7 && block[23] == 7);
    kept[0] = block;
    kept[1] = other;
    kept[2] = malloc(zero);
    kept[3] = realloc(realloc(malloc(10), 20000), 100);
}

int main(void) {
    TRY(malloc(zero));
    TRY(malloc(huge));
    TRY(calloc(zero, 8));
    TRY(calloc(huge, two + 2));
    TRY(reallocarray(NULL, huge, two + 2));
    TRY(reallocarray(NULL, zero, 8));
    TRY(realloc(NULL, zero));
    TRY(aligned_alloc(64, zero));
    TRY(memalign(3, 100)); /* glibc rounds the alignment up */
    void *block = malloc(10);
    errno = 0;
    printf("reallocarray overflows: %s, errno %d\n", reallocarray(block, huge, two + 2) == NULL ? "NULL" : "a block",
        errno);
    errno = 0;
    block = realloc(block, zero); /* glibc frees */
    say("realloc to nothing", block == NULL, errno);
    block = (void *)1;
    errno = 0;
    int result = posix_memalign(&block, two + 1, 100);
    printf("posix_memalign to 3: %d (EINVAL %d), errno %d, pointer left alone: %d\n", result, EINVAL, errno,
        block == (void *)1);
    result = posix_memalign(&block, 64, huge);
    printf("posix_memalign of too much: %d (ENOMEM %d), pointer left alone: %d\n", result, ENOMEM, block == (void *)1);
    errno = 77;
    free(malloc(100));
    free(NULL);
    printf("errno kept: %d\n", errno);
    printf("usable %d\n", malloc_usable_size(kept[3] = malloc(100)) >= 100);
    free(kept[3]);
    leave();
    return 0;
}
