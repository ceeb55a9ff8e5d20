/* Loaded while the program runs: its data, and thread-local storage that is made for each thread that asks. */
#include <stdlib.h>

void *held;
__thread void *held_by_thread[64];

void library_hold(size_t bytes) { held = calloc(1, bytes); }
void library_hold_by_thread(size_t bytes) { held_by_thread[40] = calloc(1, bytes); }
