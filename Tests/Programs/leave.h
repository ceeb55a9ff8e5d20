// What programs share that leave blocks by one function after another, and give as many back.

#include <cstring>

static void *volatile kept[2000];
static int kept_count;

// make_NAME() makes a block; run_NAME() keeps LEFT_OF_EACH, and gives as many others back.
#define LEAVE(name, make, give_back) \
    __attribute__((noinline)) static void *make_##name() { \
        void *block = make; \
        std::memset(block, 1, 64); \
        return block; \
    } \
    static void run_##name() { \
        for (int i = 0; i < LEFT_OF_EACH; i++) { \
            kept[kept_count++] = make_##name(); \
            void *block = make_##name(); \
            give_back; \
        } \
    }
