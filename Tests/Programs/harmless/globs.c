/* Random patterns and names: ours against libc's. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/glob.h"

int main(void) {
    static const char *pieces[] = {"a", "b", "*", "?", "[", "]", "[a-c]", "[!a]", "\\", "[[:digit:]]", "[[:alpha:]b]",
        "[^[:upper:]]", "1", "A", " ", "[]a]", "[a", "[\\]]", "[[:punct:]]", "[z-a]", "[[:xdigit:][:space:]]",
        "[[:nothing:]]", "[!-/]"};
    static const char bytes[] = "ab]*?[\\!1A :";
    long differ = 0, alike = 0;
    srand(7);
    for (long i = 0; i < 500000; i++) {
        char pattern[128] = "", name[8] = "";
        for (int left = rand() % 5; left > 0; left--)
            strcat(pattern, pieces[(size_t)rand() % (sizeof pieces / sizeof *pieces)]);
        for (int left = rand() % 5, at = 0; left > 0; left--) name[at++] = bytes[(size_t)rand() % (sizeof bytes - 1)];
        if (glob_matches(pattern, name) == (fnmatch(pattern, name, 0) == 0)) alike++;
        else if (differ++ < 10) printf("%s | %s\n", pattern, name);
    }
    printf("%ld differ\n", differ);
    return alike == 0;
}
