#include "heapsum_test.h"

#include <vector>

static std::vector<std::vector<char> *> sessions;

__attribute__((noinline)) static std::vector<char> *open_session() { return new std::vector<char>(1 << 20); }

TEST(Sessions, GivesBack) {
    heapsum_test budget("64K");
    delete open_session();
}

TEST(Sessions, Keeps) {
    heapsum_test budget("64K");
    sessions.push_back(open_session());
}
