/*
 * What a recorded program can ask of heapsum. If the program is not recorded, nothing happens. The names are weak, so a
 * program links no library, and each call costs one test. Use position-independent code (the default of most
 * compilers): in other executables a linker may resolve weak names to null for good.
 *
 * For C and C++, from any thread. Only heapsum_dump and heapsum_tag may be called in a signal handler.
 */
#ifndef HEAPSUM_H
#define HEAPSUM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes a dump, as the dump signal does, and returns when it is written. If another thread is writing one, one more
 * follows it. */
void heapsum_dump(void) __attribute__((weak));

/* Names this moment, in up to 39 bytes: `heapsum --since NAME` shows blocks allocated after it, `--until NAME` those
 * before. The newest 48 are kept. */
void heapsum_mark(const char *name) __attribute__((weak));

/*
 * From heapsum_pause() to heapsum_resume(), no thread's allocations are booked; they are only counted. Pauses nest. A
 * block that is already booked stays booked, and its free is booked.
 */
void heapsum_pause(void) __attribute__((weak));
void heapsum_resume(void) __attribute__((weak));

/*
 * Says what this thread works for from now on: a request, a tenant, a query. The tag becomes the outermost frame of the
 * stacks that this thread allocates from, so `heapsum --by tag` and all views of stacks tell tags apart. NULL or "": no
 * tag, as in a new thread.
 *
 * Returns the earlier tag (NULL: none), to be set again at the end: tags nest. The returned text stays valid. The tag's
 * own text is copied, and may be gone after the call. The first 4,096 tags of a process are kept, of 256 KB in all; the
 * blocks of further ones are counted together. A tag longer than 255 bytes keeps its beginning. A
 * signal handler that sets a tag sets the earlier one again.
 */
const char *heapsum_tag(const char *tag) __attribute__((weak));

/*
 * Finds out which blocks are lost, and writes a dump that says so, as `heapdump --leaks` does. heaprun does it from
 * outside: the program stands still for some milliseconds, and this thread waits until the dump is written. Blocks that
 * only the callers' variables hold are reachable.
 *
 * Returns 1 if blocks are definitely lost; 0 if none is; -1 if there is no verdict (not recorded, not run by heaprun,
 * not traceable), or an incomplete one.
 */
int heapsum_leaks(void) __attribute__((weak));

/* The block that holds this address is no leak, nor are the blocks to which it leads. A later block at the same address
 * counts again. */
void heapsum_ignore(const void *block) __attribute__((weak));

/* Searches `bytes` bytes from `start` on for pointers, like a global variable: memory in the program's own pool, for
 * example. Up to 256 ranges at a time; heapsum_unroot removes one, by the same bounds. */
void heapsum_root(const void *start, size_t bytes) __attribute__((weak));
void heapsum_unroot(const void *start, size_t bytes) __attribute__((weak));

/*
 * A block that a pool of the program hands out from memory that it has already, and that it takes back: call the first
 * when the pool has chosen the block, and the second before the pool may give it away again. `pool` names the pool.
 * Under `heaprun --mappings` these blocks are recorded with their stacks, as rows of kind "pool", apart from malloc's:
 * the pool's memory counts as what it was taken by. Blocks of fewer than 16 bytes may displace each other; that is
 * counted. The third is for a pool that takes back all its blocks at once, and names none of them.
 */
void heapsum_pool_allocated(const void *pool, const void *address, size_t bytes) __attribute__((weak));
void heapsum_pool_freed(const void *pool, const void *address) __attribute__((weak));
void heapsum_pool_destroyed(const void *pool) __attribute__((weak));

#ifdef __cplusplus
}
#endif

/* A weak function that is missing is a null pointer. Inside its own macro a name means the function. */
#define heapsum_dump() ((void)(heapsum_dump ? (heapsum_dump(), 0) : 0))
#define heapsum_mark(name) ((void)(heapsum_mark ? (heapsum_mark(name), 0) : 0))
#define heapsum_tag(tag) (heapsum_tag ? heapsum_tag(tag) : (const char *)0)
#define heapsum_pause() ((void)(heapsum_pause ? (heapsum_pause(), 0) : 0))
#define heapsum_resume() ((void)(heapsum_resume ? (heapsum_resume(), 0) : 0))
#define heapsum_leaks() (heapsum_leaks ? heapsum_leaks() : -1)
#define heapsum_ignore(block) ((void)(heapsum_ignore ? (heapsum_ignore(block), 0) : 0))
#define heapsum_root(start, bytes) ((void)(heapsum_root ? (heapsum_root((start), (bytes)), 0) : 0))
#define heapsum_unroot(start, bytes) ((void)(heapsum_unroot ? (heapsum_unroot((start), (bytes)), 0) : 0))
#define heapsum_pool_allocated(pool, address, bytes) \
    ((void)(heapsum_pool_allocated ? (heapsum_pool_allocated((pool), (address), (bytes)), 0) : 0))
#define heapsum_pool_freed(pool, address) ((void)(heapsum_pool_freed ? (heapsum_pool_freed((pool), (address)), 0) : 0))
#define heapsum_pool_destroyed(pool) ((void)(heapsum_pool_destroyed ? (heapsum_pool_destroyed(pool), 0) : 0))

#ifdef __cplusplus
/* Sets a tag until the end of the scope, on the thread that it began on: heapsum_tag_scope scope("tenant 42"); */
class heapsum_tag_scope {
  public:
    explicit heapsum_tag_scope(const char *tag) : earlier(heapsum_tag(tag)) {}
    ~heapsum_tag_scope() { (void)heapsum_tag(earlier); }

  private:
    heapsum_tag_scope(const heapsum_tag_scope &);
    heapsum_tag_scope &operator=(const heapsum_tag_scope &);
    const char *earlier;
};
#endif

#endif
