// A plugin that allocates by operator new. With OWN, an offset, it brings operators of its own, by which its blocks lie
// that far from what malloc gave: another's operator delete would not find it. UNSIZED leaves some of them to the
// runtime.
#include <cstdlib>
#include <new>

extern "C" void *make(int bytes) { return new char[bytes]; }
#ifdef UNSIZED // its compiler calls the sized operator, which is the runtime's
extern "C" void take(void *block) { operator delete[](block, std::size_t(1)); }
#else
extern "C" void take(void *block) { operator delete[](block); }
#endif

#ifdef OWN
void *operator new(std::size_t bytes) { return static_cast<char *>(std::malloc(bytes + OWN)) + OWN; }
void *operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete(void *block) noexcept {
    if (block) std::free(static_cast<char *>(block) - OWN);
}
void operator delete[](void *block) noexcept { operator delete(block); }
#ifndef UNSIZED
void operator delete(void *block, std::size_t) noexcept { operator delete(block); }
void operator delete[](void *block, std::size_t) noexcept { operator delete(block); }
#endif
#endif

#ifdef FILLER
extern const char filler[3000000];
const char filler[3000000] = {1};
#endif
