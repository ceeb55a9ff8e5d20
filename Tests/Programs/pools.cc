// Pools that tell heapsum of their blocks: numbers for MappingTests.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <list>
#include <memory_resource>
#include <thread>
#include <vector>

#include "heapsum_pmr.hpp"

namespace {

char *pool; // 64 MB, mapped
size_t used;

[[gnu::noinline]] void *take(size_t bytes) {
    void *block = pool + used;
    used += (bytes + 15) & ~size_t{15};
    heapsum_pool_allocated(pool, block, bytes);
    return block;
}

[[gnu::noinline]] void keep_hundreds() {
    for (int i = 0; i < 1000; i++) take(100);
}

[[gnu::noinline]] void keep_half() {
    for (int i = 0; i < 2000; i++) {
        void *block = take(33);
        if (i % 2) heapsum_pool_freed(pool, block);
    }
}

[[gnu::noinline]] void give_again() { // the pool takes one back and says nothing
    void *block = take(50);
    heapsum_pool_allocated(pool, block, 60);
}

[[gnu::noinline]] void fill(std::pmr::list<long> &list) {
    for (int i = 0; i < 500; i++) list.push_back(i);
}

} // namespace

int main() {
    pool = static_cast<char *>(
        mmap(nullptr, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (pool == MAP_FAILED) abort();
    keep_hundreds();
    keep_half();
    give_again();
    heapsum_pool_freed(pool, pool + 8); // of no block
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; thread++)
        threads.emplace_back([thread] {
            char *part = pool + (32 << 20) + thread * (1 << 20);
            for (int round = 0; round < 20; round++)
                for (int i = 0; i < 1000; i++) {
                    heapsum_pool_allocated(pool, part + i * 48, 48);
                    heapsum_pool_freed(pool, part + i * 48);
                }
        });
    for (auto &thread : threads) thread.join();
    std::pmr::unsynchronized_pool_resource resource;
    heapsum::pool_resource told(&resource);
    static std::pmr::list<long> list(&told);
    fill(list);
    heapsum_dump();
    puts("done");
    list.clear();
    fflush(stdout);
    _Exit(0);
}
