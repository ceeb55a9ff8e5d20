/* Does what it is told by lines of its standard input, and says when it has: "keep N" keeps N blocks of 1,000 bytes,
 * "drop" frees them, "churn N" allocates and frees, "wide N" keeps a block by each of N stacks, "end" ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *kept[1 << 20];
static unsigned count;

static __attribute__((noinline)) void keep_a_block(void) { kept[count++ % (1 << 20)] = malloc(1000); }

static __attribute__((noinline)) void churn(unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        void *volatile block = malloc(500);
        free(block);
    }
}

/* A stack by the bits of a number. */
static __attribute__((noinline)) void wide_left(unsigned bits, unsigned left);
static __attribute__((noinline)) void wide_right(unsigned bits, unsigned left) {
    if (left == 0) keep_a_block();
    else (bits & 1 ? wide_left : wide_right)(bits >> 1, left - 1);
    __asm__ volatile("");
}
static __attribute__((noinline)) void wide_left(unsigned bits, unsigned left) {
    if (left == 0) keep_a_block();
    else (bits & 1 ? wide_left : wide_right)(bits >> 1, left - 1);
    __asm__ volatile("");
}

int main(void) {
    char word[16];
    unsigned number;
    static char line[64];
    setvbuf(stdout, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        number = 0;
        if (sscanf(line, "%15s %u", word, &number) < 1) continue;
        if (!strcmp(word, "keep"))
            for (unsigned i = 0; i < number; i++) keep_a_block();
        else if (!strcmp(word, "wide"))
            for (unsigned i = 0; i < number; i++) wide_right(i, 17);
        else if (!strcmp(word, "churn")) churn(number);
        else if (!strcmp(word, "drop"))
            while (count > 0) free(kept[--count]);
        else if (!strcmp(word, "end")) return 3;
        printf("%s\n", word);
    }
    return 4;
}
