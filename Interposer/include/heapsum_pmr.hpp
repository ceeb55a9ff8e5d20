/*
 * A std::pmr resource whose blocks heapsum records (docs/mappings.md): it passes all calls on to another resource, and
 * tells heapsum of each block. Put it between a container and the pool that the container takes its memory from:
 *
 *     std::pmr::monotonic_buffer_resource buffer;
 *     heapsum::pool_resource told(&buffer);
 *     std::pmr::vector<int> numbers(&told);
 *
 * If the program is not recorded with --mappings, each call costs one test more. C++17.
 */
#ifndef HEAPSUM_PMR_HPP
#define HEAPSUM_PMR_HPP

#include <cstddef>
#include <memory_resource>

#include "heapsum.h"

namespace heapsum {

class pool_resource : public std::pmr::memory_resource {
  public:
    explicit pool_resource(std::pmr::memory_resource *upstream = std::pmr::get_default_resource()) noexcept
        : upstream_(upstream) {}
    pool_resource(const pool_resource &) = delete;
    pool_resource &operator=(const pool_resource &) = delete;

    std::pmr::memory_resource *upstream_resource() const noexcept { return upstream_; }

  private:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override {
        void *block = upstream_->allocate(bytes, alignment);
        heapsum_pool_allocated(this, block, bytes);
        return block;
    }

    void do_deallocate(void *block, std::size_t bytes, std::size_t alignment) override {
        heapsum_pool_freed(this, block);
        upstream_->deallocate(block, bytes, alignment);
    }

    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override { return this == &other; }

    std::pmr::memory_resource *upstream_;
};

} // namespace heapsum

#endif
