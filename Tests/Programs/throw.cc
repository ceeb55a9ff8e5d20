// Throws an exception through some frames, its argument's number of times. Says whose _Unwind_RaiseException it is that
// a program gets by that name.

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <initializer_list>

static volatile int depth = 10;
__attribute__((noinline)) static int through(int left) {
    if (left == 0) throw 5;
    int result = through(left - 1);
    return result + depth;
}

int main(int count, char **arguments) {
    int times = count > 1 ? std::atoi(arguments[1]) : 1, sum = 0;
    for (int i = 0; i < times; i++) try {
            sum += through(depth);
        } catch (int value) {
            sum += value;
        }
    for (const char *name : {"_Unwind_RaiseException", "_Unwind_Resume", "_Unwind_Backtrace", "_Unwind_Find_FDE",
             "__register_frame_info"}) {
        Dl_info info;
        void *function = dlsym(RTLD_DEFAULT, name);
        std::printf("%s %s\n", name, function != nullptr && dladdr(function, &info) != 0 ? info.dli_fname : "nowhere");
    }
    return sum == 5 * times ? 0 : 1;
}
