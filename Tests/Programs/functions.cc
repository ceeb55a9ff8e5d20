// Calls every function that the interposer interposes for allocation: one block of a size of its own left live,
// one given back. Prints, for each, the name, and what is left of it; the test looks for just that in the image.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <malloc.h>
#include <new>

using Align = std::align_val_t;
static void *volatile kept; // a store that the compiler can't leave out

#define MANGLED(result, name, parameters) extern "C" result name parameters
MANGLED(void *, _Znwm, (size_t));
MANGLED(void *, _Znam, (size_t));
MANGLED(void *, _ZnwmRKSt9nothrow_t, (size_t, const std::nothrow_t &));
MANGLED(void *, _ZnamRKSt9nothrow_t, (size_t, const std::nothrow_t &));
MANGLED(void *, _ZnwmSt11align_val_t, (size_t, size_t));
MANGLED(void *, _ZnamSt11align_val_t, (size_t, size_t));
MANGLED(void *, _ZnwmSt11align_val_tRKSt9nothrow_t, (size_t, size_t, const std::nothrow_t &));
MANGLED(void *, _ZnamSt11align_val_tRKSt9nothrow_t, (size_t, size_t, const std::nothrow_t &));
MANGLED(void, _ZdlPv, (void *));
MANGLED(void, _ZdaPv, (void *));
MANGLED(void, _ZdlPvRKSt9nothrow_t, (void *, const std::nothrow_t &));
MANGLED(void, _ZdaPvRKSt9nothrow_t, (void *, const std::nothrow_t &));
MANGLED(void, _ZdlPvm, (void *, size_t));
MANGLED(void, _ZdaPvm, (void *, size_t));
MANGLED(void, _ZdlPvSt11align_val_t, (void *, size_t));
MANGLED(void, _ZdaPvSt11align_val_t, (void *, size_t));
MANGLED(void, _ZdlPvSt11align_val_tRKSt9nothrow_t, (void *, size_t, const std::nothrow_t &));
MANGLED(void, _ZdaPvSt11align_val_tRKSt9nothrow_t, (void *, size_t, const std::nothrow_t &));
MANGLED(void, _ZdlPvmSt11align_val_t, (void *, size_t, size_t));
MANGLED(void, _ZdaPvmSt11align_val_t, (void *, size_t, size_t));

// This libc may lack these by name; the interposer has them all.
template <typename Function> static Function *named(const char *name) {
    return reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, name));
}

// Or have them for old programs alone.
#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#else
#define OLDEST "GLIBC_2.17"
#endif
template <typename Function> static Function *formerly(const char *name) {
    return reinterpret_cast<Function *>(dlvsym(RTLD_DEFAULT, name, OLDEST));
}

static void *aligned(size_t alignment, size_t bytes) {
    void *block = nullptr;
    return posix_memalign(&block, alignment, bytes) == 0 ? block : nullptr;
}

// An allocating function: `leak_NAME` leaves one block of `bytes`.
#define ALLOCATES(name, bytes, call) \
    extern "C" __attribute__((noinline)) void leak_##name() { kept = (call); } \
    static void run_##name() { \
        leak_##name(); \
        std::printf("%s 1 %d\n", #name, int(bytes)); \
    }

// A freeing function: `give_NAME` gives back one block of two.
#define FREES(name, make, call) \
    extern "C" __attribute__((noinline)) void give_##name() { \
        void *block = (make); \
        kept = block; \
        call; \
        kept = (make); \
    } \
    static void run_##name() { \
        give_##name(); \
        std::printf("%s 1 %d\n", #name, 48); \
    }

ALLOCATES(malloc, 101, malloc(101))
ALLOCATES(calloc, 3 * 34, calloc(3, 34))
ALLOCATES(realloc, 50000, realloc(malloc(40), 50000))
ALLOCATES(reallocarray, 9 * 1000, reallocarray(reallocarray(nullptr, 1, 10), 9, 1000))
ALLOCATES(posix_memalign, 105, aligned(64, 105))
ALLOCATES(memalign, 106, memalign(256, 106))
ALLOCATES(aligned_alloc, 128, aligned_alloc(64, 128))
ALLOCATES(valloc, 108, valloc(108))
ALLOCATES(pvalloc, 109, pvalloc(109))
ALLOCATES(_Znwm, 110, _Znwm(110))
ALLOCATES(_Znam, 111, _Znam(111))
ALLOCATES(_ZnwmRKSt9nothrow_t, 112, _ZnwmRKSt9nothrow_t(112, std::nothrow))
ALLOCATES(_ZnamRKSt9nothrow_t, 113, _ZnamRKSt9nothrow_t(113, std::nothrow))
// libstdc++ rounds an aligned request up to its alignment before it allocates.
ALLOCATES(_ZnwmSt11align_val_t, 256, _ZnwmSt11align_val_t(256, 64))
ALLOCATES(_ZnamSt11align_val_t, 320, _ZnamSt11align_val_t(320, 64))
ALLOCATES(_ZnwmSt11align_val_tRKSt9nothrow_t, 384, _ZnwmSt11align_val_tRKSt9nothrow_t(384, 64, std::nothrow))
ALLOCATES(_ZnamSt11align_val_tRKSt9nothrow_t, 448, _ZnamSt11align_val_tRKSt9nothrow_t(448, 64, std::nothrow))

FREES(free, malloc(48), free(block))
FREES(cfree, malloc(48), {
    auto f = formerly<void(void *)>("cfree");
    f ? f(block) : free(block);
})
FREES(free_sized, malloc(48), {
    auto f = named<void(void *, size_t)>("free_sized");
    f ? f(block, 48) : free(block);
})
FREES(free_aligned_sized, aligned_alloc(16, 48), {
    auto f = named<void(void *, size_t, size_t)>("free_aligned_sized");
    f ? f(block, 16, 48) : free(block);
})
FREES(_ZdlPv, _Znwm(48), _ZdlPv(block))
FREES(_ZdaPv, _Znam(48), _ZdaPv(block))
FREES(_ZdlPvRKSt9nothrow_t, _Znwm(48), _ZdlPvRKSt9nothrow_t(block, std::nothrow))
FREES(_ZdaPvRKSt9nothrow_t, _Znam(48), _ZdaPvRKSt9nothrow_t(block, std::nothrow))
FREES(_ZdlPvm, _Znwm(48), _ZdlPvm(block, 48))
FREES(_ZdaPvm, _Znam(48), _ZdaPvm(block, 48))
FREES(_ZdlPvSt11align_val_t, _ZnwmSt11align_val_t(48, 16), _ZdlPvSt11align_val_t(block, 16))
FREES(_ZdaPvSt11align_val_t, _ZnamSt11align_val_t(48, 16), _ZdaPvSt11align_val_t(block, 16))
FREES(_ZdlPvSt11align_val_tRKSt9nothrow_t, _ZnwmSt11align_val_t(48, 16),
    _ZdlPvSt11align_val_tRKSt9nothrow_t(block, 16, std::nothrow))
FREES(_ZdaPvSt11align_val_tRKSt9nothrow_t, _ZnamSt11align_val_t(48, 16),
    _ZdaPvSt11align_val_tRKSt9nothrow_t(block, 16, std::nothrow))
FREES(_ZdlPvmSt11align_val_t, _ZnwmSt11align_val_t(48, 16), _ZdlPvmSt11align_val_t(block, 48, 16))
FREES(_ZdaPvmSt11align_val_t, _ZnamSt11align_val_t(48, 16), _ZdaPvmSt11align_val_t(block, 48, 16))

#define RUN(name) run_##name();
#include "../../Interposer/hooks/interposed.h"

int main() {
    INTERPOSED_C(RUN)
    INTERPOSED_C_LESS_COMMON(RUN)
    run_cfree();
    INTERPOSED_NEW(RUN)
    INTERPOSED_DELETE(RUN)
}
