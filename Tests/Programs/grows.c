/* Keeps a megabyte every few milliseconds until none is given (status 5), or so many are kept. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __attribute__((noinline)) char *keep_a_megabyte(void) {
    char *block = malloc(1 << 20);
    if (block != NULL) memset(block, 1, 1 << 20);
    return block;
}

int main(int count, char **arguments) {
    for (int left = count > 1 ? atoi(arguments[1]) : 100; left > 0; left--) {
        char *volatile block = keep_a_megabyte();
        if (block == NULL) return 5;
        usleep(3000);
    }
    return 0;
}
