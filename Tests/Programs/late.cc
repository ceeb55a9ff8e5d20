// Allocates by each way that calls take: commands, a line each, on standard input, each answered with a line.
//
//   work    ten blocks of 1,001 bytes by malloc, of 1,002 by calloc, 1,003 by realloc, 1,004 by operator new, 1,005 by
//           operator new[], 1,006 by posix_memalign, 1,007 by strdup, all kept
//   open    opens the plugin named by the argument, whose function keeps ten blocks of 1,008 bytes and ten by operator
//   new
//           of 1,009
//   look    looks malloc up by name, and keeps ten blocks of 1,010 bytes
//   free    frees all that was kept, by this and by the plugin
//   fork    a child allocates, frees what the parent made, and ends; the answer is its exit status
//   quit
//
// With PLUGIN it is that plugin.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef PLUGIN
extern "C" void keep_in_plugin(void **malloced, char **made) {
    for (int i = 0; i < 10; i++) {
        malloced[i] = malloc(1008);
        made[i] = new char[1009];
    }
}
extern "C" void free_in_plugin(void **malloced, char **made) {
    for (int i = 0; i < 10; i++) {
        free(malloced[i]);
        delete[] made[i];
    }
}
#else
struct Large {
    char bytes[1004];
};
static void *kept[70], *looked[10], *by_plugin[10];
static Large *made[10];
static char *arrays[10], *made_by_plugin[10];
static void (*free_in_plugin)(void **, char **);

static void work() {
    char text[1007];
    memset(text, 'x', sizeof text);
    text[1006] = 0;
    for (int i = 0; i < 10; i++) {
        kept[i] = malloc(1001);
        kept[10 + i] = calloc(2, 501);
        kept[20 + i] = realloc(malloc(10), 1003);
        made[i] = new Large;
        arrays[i] = new char[1005];
        if (posix_memalign(&kept[30 + i], 64, 1006) != 0) abort();
        kept[40 + i] = strdup(text);
    }
}

static void free_all() {
    for (void *&block : kept) free(block), block = nullptr;
    for (void *&block : looked) free(block), block = nullptr;
    for (Large *&block : made) delete block, block = nullptr;
    for (char *&block : arrays) delete[] block, block = nullptr;
    if (free_in_plugin != nullptr) free_in_plugin(by_plugin, made_by_plugin);
    free_in_plugin = nullptr;
}

int main(int count, char **arguments) {
    char line[32];
    setvbuf(stdout, nullptr, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin) != nullptr) {
        int answer = 0;
        if (strncmp(line, "work", 4) == 0) {
            work();
        } else if (strncmp(line, "open", 4) == 0 && count > 1) {
            void *plugin = dlopen(arguments[1], RTLD_NOW);
            if (plugin == nullptr) printf("%s\n", dlerror());
            auto keep = (void (*)(void **, char **))dlsym(plugin, "keep_in_plugin");
            free_in_plugin = (void (*)(void **, char **))dlsym(plugin, "free_in_plugin");
            if (keep == nullptr) return 4;
            keep(by_plugin, made_by_plugin);
        } else if (strncmp(line, "look", 4) == 0) {
            auto allocate = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "malloc");
            for (void *&block : looked) block = allocate(1010);
            if (dlsym(RTLD_DEFAULT, "no_such_function") != nullptr || dlerror() == nullptr) answer = 1;
        } else if (strncmp(line, "free", 4) == 0) {
            free_all();
        } else if (strncmp(line, "fork", 4) == 0) {
            pid_t child = fork();
            if (child == 0) {
                free_all();
                for (int i = 0; i < 1000; i++) free(malloc((size_t)i));
                _exit(7);
            }
            waitpid(child, &answer, 0);
            answer = WIFEXITED(answer) ? WEXITSTATUS(answer) : -1;
        } else {
            return 0;
        }
        printf("%.4s %d\n", line, answer);
    }
    return 3;
}
#endif
