// Uses every kind of allocation function, whichever allocator it is linked with: leaves 100 blocks of 72 bytes each by
// malloc, calloc, realloc, aligned_alloc, posix_memalign, operator new, its array form, the nothrow and the aligned
// one, each in a function of its own, and gives as many back, by the sized delete where there is one. With OWN_MALLOC
// its malloc and free are its own; with OWN_POOL it says that it allocates from a pool. Prints its sums.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <new>
#include <thread>
#include <unistd.h>

#ifdef OWN_MALLOC
// A malloc of the program's own: a bump of a static area, with each block's size before it.
static char area[64 << 20];
static std::size_t area_used;
extern "C" {
void *malloc(std::size_t bytes) {
    std::size_t at = __atomic_fetch_add(&area_used, (bytes + 31) / 16 * 16, __ATOMIC_RELAXED);
    if (at + bytes + 16 > sizeof area) return nullptr;
    std::memcpy(area + at, &bytes, sizeof bytes);
    return area + at + 16;
}
void free(void *) {}
void *calloc(std::size_t count, std::size_t size) { return malloc(count * size); } // fresh memory alone, so zero
void *realloc(void *block, std::size_t bytes) {
    void *moved = malloc(bytes);
    std::size_t held = 0;
    if (block != nullptr) std::memcpy(&held, static_cast<char *>(block) - 16, sizeof held);
    if (moved != nullptr && block != nullptr) std::memcpy(moved, block, held < bytes ? held : bytes);
    return moved;
}
void *aligned_alloc(std::size_t alignment, std::size_t bytes) {
    char *block = static_cast<char *>(malloc(bytes + alignment));
    return block + (alignment - reinterpret_cast<std::size_t>(block) % alignment) % alignment;
}
int posix_memalign(void **to, std::size_t alignment, std::size_t bytes) {
    return (*to = aligned_alloc(alignment, bytes)) == nullptr ? 12 : 0;
}
}
#endif

struct alignas(64) Wide {
    char bytes[64];
};
struct Block {
    char bytes[72];
};
#define LEFT_OF_EACH 100
#include "leave.h"

static void *by_posix_memalign() {
    void *block = nullptr;
    return posix_memalign(&block, 64, 72) == 0 ? block : nullptr;
}
LEAVE(malloc, malloc(72), free(block))
LEAVE(calloc, calloc(9, 8), free(block))
LEAVE(realloc, realloc(realloc(malloc(10), 3000), 72), free(realloc(block, 0x20000)))
LEAVE(aligned_alloc, aligned_alloc(64, 128), free(block))
LEAVE(posix_memalign, by_posix_memalign(), free(block))
LEAVE(new, new Block, delete static_cast<Block *>(block)) // sized
LEAVE(array, new char[72], delete[] static_cast<char *>(block))
LEAVE(nothrow, new (std::nothrow) Block, ::operator delete(block, std::nothrow))
LEAVE(aligned_new, new Wide, delete static_cast<Wide *>(block)) // sized and aligned

int main() {
    run_malloc();
    run_calloc();
    run_realloc();
    run_aligned_alloc();
    run_posix_memalign();
    run_new();
    run_array();
    run_nothrow();
    run_aligned_new();
    std::thread([] {
        for (int i = 0; i < 100000; i++) {
            void *volatile block = malloc(i % 5000);
            free(block);
        }
    }).join();
    std::size_t sum = 0;
    for (int i = 0; i < kept_count; i++) sum += *static_cast<unsigned char *>(kept[i]);
    std::printf("%d blocks stand, %zu\n", kept_count, sum);
}
