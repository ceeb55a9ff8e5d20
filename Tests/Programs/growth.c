// Programs for heapwatch to tell apart, one of them by its first word; each under a name of its own.
// usage: growth leak|saw|warm|descriptors|queue|steady|walk|idle
// The clock tells how many steps are due, ten a second: on a busy machine a program takes them late, and several at
// once.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 100 << 10, MOST = 1 << 16 };
static void *chunks[MOST];
static int count;

static void grow(void) {
    if (count == MOST) return;
    char *chunk = mmap(0, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) exit(1);
    memset(chunk, 1, CHUNK);
    chunks[count++] = chunk;
}

static void shrink(void) {
    if (count > 0) munmap(chunks[--count], CHUNK);
}

static int writer(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&address, length) || listen(listener, 1)
        || getsockname(listener, (void *)&address, &length) || connect(out, (void *)&address, length)
        || accept(listener, 0, 0) < 0)
        exit(2);
    fcntl(out, F_SETFL, O_NONBLOCK);
    return out;
}

static long tenths(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 10 + now.tv_nsec / 100000000;
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    char name[16];
    snprintf(name, sizeof name, "hw-%s", kind);
    prctl(PR_SET_NAME, name);
    int is(const char *other) { return !strcmp(kind, other); }
    int out = is("queue") ? writer() : -1;
    unsigned seed = 12345;
    if (is("steady") || is("walk"))
        while (count < 200) grow();
    static char data[1 << 14];
    puts("ready");
    fflush(stdout);
    long begin = tenths();
    for (int step = 0;; step++) {
        while (tenths() - begin < step) usleep(20000);
        if (is("leak")) grow();
        if (is("saw")) {
            if (count == 80)
                while (count) shrink();
            else {
                grow();
                grow();
            }
        }
        if (is("warm") && step < 150) {
            grow();
            grow();
        }
        if (is("descriptors") && step % 2 == 0 && open("/dev/null", O_RDONLY) < 0) return 3;
        if (out >= 0 && write(out, data, sizeof data) < 0 && errno != EAGAIN) return 4;
        if (is("steady"))
            for (int i = 0; i < count; i++) memset(chunks[i], step, CHUNK / 10);
        if (is("walk")) {
            for (int i = 0; i < 3; i++) {
                seed = seed * 1103515245 + 12345;
                if (seed >> 31) grow();
                else shrink();
            }
        }
    }
}
