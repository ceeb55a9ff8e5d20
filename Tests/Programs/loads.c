/*
 * Loads and unloads the libraries that its arguments name, in turn, and has each make one block a round; says how often
 * a library came to lie where another had just been, and how many rounds there were. Its first argument is the number
 * of rounds; "deep" before it loads with RTLD_DEEPBIND, "apart" into a namespace of their own (dlmopen).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments) {
    int first = 1;
    int deep = strcmp(arguments[first], "deep") == 0, apart = strcmp(arguments[first], "apart") == 0;
    first += deep || apart;
    int rounds = atoi(arguments[first++]), libraries = count - first, same = 0;
    const void *last = NULL;
    for (int round = 0; round < rounds; round++) {
        const char *path = arguments[first + round % libraries];
        void *library =
            apart ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW) : dlopen(path, RTLD_NOW | (deep ? RTLD_DEEPBIND : 0));
        if (library == NULL) {
            puts(dlerror());
            return 1;
        }
        void *(*make)(size_t) = (void *(*)(size_t))dlsym(library, "make");
        struct link_map *map;
        if (make == NULL || dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) return 2;
        if (last == (const void *)map->l_addr) same++;
        last = (const void *)map->l_addr;
        memset(make(64), 1, 64);
        dlclose(library);
    }
    printf("rounds %d, at the same address %s\n", rounds,
        same > rounds / 2 ? "mostly"
            : same > 0    ? "at times"
                          : "never");
    return 0;
}
