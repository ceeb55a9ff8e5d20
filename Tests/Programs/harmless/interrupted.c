/*
 * A signal's handler that allocates, at any moment of C's own functions: before they have made their frame, in it, and
 * after. Prints how many blocks the handler holds. Built for musl, whose functions have no call frame information.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <wchar.h>

#define HELD 1000

static void *volatile held[HELD];
static volatile sig_atomic_t count;
static volatile size_t result;

__attribute__((noinline)) static void handle(int signal) {
    if (count < HELD) held[count++] = malloc((size_t)signal);
}

static int order(const void *one, const void *other) { return *(const int *)one - *(const int *)other; }

/* Not each of them calls others, and one of them calls order(). */
__attribute__((noinline)) static void work(void) {
    char text[600], copy[600];
    int numbers[64];
    wchar_t wide[64];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    result += strlen(text) + strcspn(text, "yz") + (strstr(text, "xxy") != NULL);
    memmove(copy, text, sizeof text);
    result += (size_t)memcmp(text, copy, sizeof text) + (size_t)strtol("123456", NULL, 10);
    result += (size_t)snprintf(copy, sizeof copy, "%d %g %s", 42, 3.25, "text") + (size_t)strtod("1.5e3", NULL);
    result += mbstowcs(wide, copy, 60);
    for (int i = 0; i < 64; i++) numbers[i] = i * 37 % 64;
    qsort(numbers, 64, sizeof numbers[0], order);
}

int main(void) {
    const struct itimerval each = {{0, 300}, {0, 300}}, none = {{0, 0}, {0, 0}};
    signal(SIGALRM, handle);
    setitimer(ITIMER_REAL, &each, NULL);
    while (count < HELD) work();
    setitimer(ITIMER_REAL, &none, NULL);
    printf("%d\n", (int)count);
    return 0;
}
