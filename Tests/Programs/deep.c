/* Leaves one block at the bottom of a recursion of as many calls as its argument says. Built with frame pointers, by
 * this: */
#pragma GCC optimize("no-omit-frame-pointer")
#include <stdlib.h>

static void *volatile kept;
__attribute__((noinline, noclone)) static void bottom(void) { kept = malloc(77); }

__attribute__((noinline, noclone)) static void down(int left) {
    if (left > 0) down(left - 1);
    else bottom();
    __asm__ volatile(""); /* no tail call */
}

int main(int count, char **arguments) {
    down(count > 1 ? atoi(arguments[1]) : 10);
    return 0;
}
