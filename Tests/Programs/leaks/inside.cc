// Pointers to blocks' insides that C++ makes: arrays with a count in front, second base classes, texts behind their
// header; and the same shapes that nothing explains.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "registers.h"

#define NOINLINE __attribute__((noinline))

struct Counted {
    int64_t value[3] = {0, 0, 0};
    ~Counted() { value[0] = 1; }
};

struct First {
    virtual ~First() {}
    int64_t a = 1;
};
struct Second {
    virtual ~Second() {}
    int64_t b = 2;
};
struct Both : First, Second {
    int64_t c[9] = {};
};

Counted *volatile array;
Second *volatile second;
char *volatile text, *volatile not_text;
void *volatile with_length, *volatile without_length, *volatile inside;

static NOINLINE void build() {
    array = new Counted[11];
    second = new Both;
    // As libstdc++'s strings of before C++11: length, capacity, count of references, text.
    auto *header = static_cast<size_t *>(calloc(1, 24 + 100 + 1));
    header[0] = 60;
    header[1] = 100;
    text = reinterpret_cast<char *>(header + 3);
    header = static_cast<size_t *>(calloc(1, 24 + 133 + 1));
    header[0] = 99999;
    header[1] = 77;
    not_text = reinterpret_cast<char *>(header + 3);
    // A length in front.
    header = static_cast<size_t *>(calloc(1, 208));
    header[0] = 200;
    with_length = header + 1;
    header = static_cast<size_t *>(calloc(1, 224));
    header[0] = 1000000;
    without_length = header + 1;
    inside = calloc(1, 256); // and nobody holds it any more, when:
    inside = static_cast<char *>(calloc(1, 240)) + 24;
}

static NOINLINE void wipe() {
    char space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

int main(int argc, char **) {
    build();
    wipe();
    FORGET_REGISTERS;
    if (argc > 1) _exit(0); // before destructors and libstdc++ give anything back
    if (write(1, "ready\n", 6) != 6) return 1;
    for (;;) pause();
}
