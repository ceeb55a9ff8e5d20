/*
 * The list that was dropped.
 *
 * A collector of measurements appends each one to a list, and sends the list away when it has a hundred. When the other
 * side doesn't answer, send_batch() gives up early, and its caller goes on with an empty list: the batch is neither
 * sent nor kept for the next try, nor freed.
 *
 * Of a lost batch nobody holds the first measurement; each holds the next, and its text. One block of a hundred or more
 * is the leak, and its stack says where lists begin; the others are lost because of it.
 *
 * The cure is free_batch(), or another try, on the way out.
 *
 * usage: lost-list [seconds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct measurement {
    struct measurement *next;
    char *text;
};

struct batch {
    struct measurement *first, **end;
    int count;
};

__attribute__((noinline)) static void append(struct batch *batch, int number) {
    struct measurement *measurement = malloc(sizeof *measurement);
    if (!measurement || !(measurement->text = malloc(120))) abort();
    snprintf(measurement->text, 120, "measurement %d", number);
    measurement->next = NULL;
    *batch->end = measurement;
    batch->end = &measurement->next;
    batch->count++;
}

static void free_batch(struct batch *batch) {
    while (batch->first != NULL) {
        struct measurement *next = batch->first->next;
        free(batch->first->text);
        free(batch->first);
        batch->first = next;
    }
}

__attribute__((noinline)) static void send_batch(struct batch *batch, int is_answered) {
    if (!is_answered) return; /* and the batch? */
    free_batch(batch);
}

__attribute__((noinline)) static int collect(double seconds) {
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int batches = 0;
    do {
        struct batch batch = {.first = NULL, .end = &batch.first, .count = 0};
        while (batch.count < 100) append(&batch, batches * 100 + batch.count);
        send_batch(&batch, batches++ % 10 != 0);
        usleep(1000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
    return batches;
}

int main(int count, char **words) {
    printf("%d batches, of which one in ten was not answered\n", collect(count > 1 ? atof(words[1]) : 5));
    return 0;
}
