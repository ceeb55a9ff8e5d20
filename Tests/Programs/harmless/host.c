/* A C program with plugins in C++: `replaced` closes one before it opens the next, `both` has them side by side, `many`
 * by turns and thousands of times, `again` closes one and opens it again, behind the runtime that it left, `error`
 * looks at dlerror. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plugin {
    void *handle;
    void *(*make)(int);
    void (*take)(void *);
};

static struct plugin load(const char *path) {
    struct plugin plugin = {dlopen(path, RTLD_NOW | RTLD_LOCAL), NULL, NULL};
    if (plugin.handle == NULL) {
        puts(dlerror());
        exit(2);
    }
    *(void **)&plugin.make = dlsym(plugin.handle, "make");
    *(void **)&plugin.take = dlsym(plugin.handle, "take");
    return plugin;
}

static void use(struct plugin plugin, int bytes) {
    void *block = plugin.make(bytes);
    memset(block, 1, (size_t)bytes);
    plugin.take(block);
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "";
    struct plugin one = load("./one.so");
    if (strcmp(how, "replaced") == 0) {
        use(one, 100);
        dlclose(one.handle);
        use(load("./two.so"), 200);
    } else if (strcmp(how, "both") == 0) {
        struct plugin two = load("./two.so");
        two.take(NULL);
        use(one, 100);
        use(two, 100);
    } else if (strcmp(how, "again") == 0) {
        use(one, 100);
        dlclose(one.handle);
        use(load("./one.so"), 200);
    } else if (strcmp(how, "many") == 0) {
        struct plugin two = load("./two.so");
        for (int i = 0; i < 20000; i++) {
            void *first = one.make(50), *second = two.make(60);
            one.take(first);
            two.take(second);
        }
    } else {
        dlsym(one.handle, "no such function");
        use(one, 100); /* the plugin's first operator new is looked up here */
        const char *message = dlerror();
        return printf("%s\n", message != NULL && strstr(message, "no such function") != NULL ? "kept" : "lost") < 0;
    }
    puts("used");
    return 0;
}
