/*
 * The pool that only looked at slot 0.
 *
 * A connection to a database is dear, so the program keeps the ones it has in a pool of eight and
 * opens a new one only when none is idle. In the test with one client at a time it worked: slot 0 was
 * taken, given back, taken again.
 *
 * The search for an idle connection begins and ends at slot 0. Once a slow request holds that slot for
 * good, each further request finds "no idle connection", opens one, and parks it where there is room; where
 * there is none, it is simply forgotten. So it grows with the traffic and not with the time, which
 * is why it is seen on Monday mornings and never at night:
 *
 *     malloc <- open_connection <- take_connection <- handle_request <- main
 *
 * What is live is all of one stack, thousands of blocks where eight are right: the number of blocks
 * says more than the bytes. The cure is one loop in find_idle.
 *
 * usage: pool-slot-zero [seconds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POOL_SIZE 8

struct connection {
    int is_idle;
    char *receive_buffer;
    char address[64];
};

static struct connection *pool[POOL_SIZE];

static struct connection *find_idle(void) {
    if (pool[0] != NULL && pool[0]->is_idle) return pool[0]; /* and slots 1 to 7? */
    return NULL;
}

static __attribute__((noinline)) struct connection *open_connection(const char *address) {
    struct connection *connection = malloc(sizeof *connection);
    if (connection == NULL) return NULL;
    connection->receive_buffer = malloc(2048);
    connection->is_idle = 1;
    snprintf(connection->address, sizeof connection->address, "%s", address);
    for (int slot = 0; slot < POOL_SIZE; slot++) {
        if (pool[slot] == NULL) {
            pool[slot] = connection;
            break;
        }
    }
    return connection;
}

static __attribute__((noinline)) struct connection *take_connection(const char *address) {
    struct connection *connection = find_idle();
    if (connection == NULL) connection = open_connection(address);
    if (connection != NULL) connection->is_idle = 0;
    return connection;
}

static void give_back(struct connection *connection) { connection->is_idle = 1; }

static __attribute__((noinline)) int handle_request(unsigned number) {
    struct connection *connection = take_connection("db.example:5432");
    if (connection == NULL || connection->receive_buffer == NULL) return 0;
    snprintf(connection->receive_buffer, 2048, "row %u", number);
    /* The first request asked for changes as they come, and keeps its connection for good. */
    if (number > 0) give_back(connection);
    return 1;
}

int main(int count, char **arguments) {
    double seconds = count > 1 ? atof(arguments[1]) : 2;
    struct timespec start, now;
    unsigned handled = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        handled += (unsigned)handle_request(handled);
        usleep(500);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
    printf("handled %u requests\n", handled);
    return 0;
}
