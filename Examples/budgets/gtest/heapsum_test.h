/*
 * Budgets of memory by test, for GoogleTest under heaprun:
 *
 *     heaprun --quiet -o heap -- ./tests
 *
 * An object of heapsum_test in a test makes it fail if more bytes are live at the object's end than at its beginning.
 * Without heaprun it does nothing. The program is linked as usual; heapsum.h has weak functions only.
 */
#ifndef HEAPSUM_TEST_H
#define HEAPSUM_TEST_H

#include <glob.h>
#include <gtest/gtest.h>
#include <heapsum.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

class heapsum_test {
  public:
    /* `budget` as heapsum has sizes: 64K, 1M, or a number of bytes. */
    explicit heapsum_test(std::string budget) : budget_(std::move(budget)), before_(take_dump()) {}
    heapsum_test(const heapsum_test &) = delete;
    heapsum_test &operator=(const heapsum_test &) = delete;

    ~heapsum_test() {
        if (before_.empty() || testing::Test::HasFatalFailure()) return;
        const std::string after = take_dump();
        const std::string command = "unset LD_PRELOAD; heapsum check --baseline '" + before_ + "' --max-growth-bytes "
            + budget_ + " --top 3 --frames 8 '" + after + "' 2>&1";
        std::string said;
        FILE *check = popen(command.c_str(), "r");
        for (int c; check != nullptr && (c = fgetc(check)) != EOF;) said += static_cast<char>(c);
        if (check == nullptr || pclose(check) != 0) {
            ADD_FAILURE() << said; /* the dumps stay: heapsum diff shows all */
            return;
        }
        unlink(before_.c_str());
        unlink(after.c_str());
    }

  private:
    /* Writes a dump of this process, and returns its path; empty if it is not recorded. */
    static std::string take_dump() {
        if (heapsum_dump == nullptr) return "";
        (heapsum_dump)();
        const char *output = getenv("HEAPSUM_OUTPUT");
        const std::string pattern =
            std::string(output == nullptr ? "." : output) + "/*." + std::to_string(getpid()) + ".*.heap";
        std::string newest;
        long number = 0;
        glob_t found = {};
        if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
            for (size_t i = 0; i < found.gl_pathc; i++) {
                const std::string path = found.gl_pathv[i];
                const std::string stem = path.substr(0, path.size() - 5);
                const long own = atol(stem.substr(stem.rfind('.') + 1).c_str());
                if (own > number) number = own, newest = path;
            }
        }
        globfree(&found);
        return newest;
    }

    const std::string budget_, before_;
};

#endif
