// The leak that no lost block shows: a cache that nobody empties, and a small list beside it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "registers.h"

#define NOINLINE __attribute__((noinline))

struct Session {
    Session *next;
    char *name;
    void *buffer;
};
struct Cache {
    Session *sessions;
    size_t count;
};
Cache *session_cache;
Session *recent;
void *shared_by_both_a, *shared_by_both_b;

static NOINLINE Session *open_session(size_t bytes) {
    auto *session = static_cast<Session *>(calloc(1, sizeof(Session)));
    session->name = strdup("a session of somebody's");
    session->buffer = calloc(1, bytes);
    return session;
}
static NOINLINE void cache_session(size_t bytes) {
    Session *session = open_session(bytes);
    session->next = session_cache->sessions;
    session_cache->sessions = session;
    session_cache->count++;
}
static NOINLINE void fill() {
    session_cache = static_cast<Cache *>(calloc(1, sizeof(Cache)));
    for (int i = 0; i < 500; i++) cache_session(1000);
    for (int i = 0; i < 20; i++) {
        Session *session = open_session(500);
        session->next = recent;
        recent = session;
    }
    shared_by_both_a = shared_by_both_b = calloc(1, 50000);
}
static NOINLINE void wipe() {
    char space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

int main() {
    fill();
    wipe();
    FORGET_REGISTERS;
    printf("%p\n", session_cache->sessions->next->next->buffer);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
