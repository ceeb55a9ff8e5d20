/*
 * A program whose threads have OpenTelemetry contexts. Each kept block has its own size, so that a test knows which tag
 * it must have.
 *
 *   traced requests     records that change in place, others, invalid ones, and what the text says of odd entries
 *   traced threads N    N threads at once, each with attributes of its own and with one that all share
 *   traced signals MS   a handler with a context of its own interrupts the program anywhere, also while that changes
 *                       its record. The allocator must bear that
 *   traced growing      the process context gets another attribute right before the first record that has it
 *   traced late         the process context comes after the first record, grows, and then has other numbers
 *   traced fork         a child goes on with its parent's record, and then publishes a process context of its own
 *   traced odd          pointers that lead nowhere, records and process contexts that are none
 *   traced many N       N values of the attribute
 *   traced told         its thread has a record; for each number on standard input it keeps a block of that size
 *   traced close        with -DLIBRARY: closes the library of the writer
 *   traced reopen       with -DLIBRARY: closes it and opens it again, while a thread has a record from before
 *   traced loop W N     N allocations and frees: of no record (W is 0), of one (1), of one that changes (2)
 */
#define _GNU_SOURCE
#include "traced.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "heapsum.h"

static const struct traced_writer *writer;
static const char *const names[] = {"http.method", "http.route", "user.id"};
enum { METHOD, ROUTE, USER };

static void *kept[1 << 16];
static int count;
__attribute__((noinline)) static void keep(size_t bytes) { kept[count++] = malloc(bytes); }

static void begin(struct traced_record *record) {
    *(volatile uint8_t *)&record->valid = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    record->attributes_bytes = 0;
}
static void add(struct traced_record *record, uint8_t number, const char *value) {
    const size_t length = strlen(value);
    uint8_t *entry = record->attributes + record->attributes_bytes;
    entry[0] = number;
    entry[1] = (uint8_t)length;
    memcpy(entry + 2, value, length);
    record->attributes_bytes = (uint16_t)(record->attributes_bytes + 2 + length);
}
static void end(struct traced_record *record) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    *(volatile uint8_t *)&record->valid = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
static void change(struct traced_record *record, const char *method, const char *route) {
    begin(record);
    add(record, METHOD, method);
    add(record, ROUTE, route);
    end(record);
}

static void wait_a_moment(void) { nanosleep(&(struct timespec){0, 60000000}, NULL); }

static void run_requests(void) {
    static struct traced_record one, other;
    char text[256];
    keep(100);
    writer->publish("tls_v1", names, 3);
    keep(150);
    change(&one, "GET", "/orders");
    writer->attach(&one);
    keep(200);
    change(&one, "GET", "/users/");
    keep(300);
    begin(&one);
    keep(400);
    change(&one, "GET", "/users/");
    change(&other, "POST", "/items");
    writer->attach(&other);
    keep(500);
    kept[count - 5] = realloc(kept[count - 5], 5000); /* of no tag; now it belongs to this one */
    begin(&other);
    add(&other, METHOD, "GET");
    end(&other);
    keep(600);
    writer->attach(NULL);
    keep(700);
    writer->attach(&one);
    begin(&one);
    add(&one, ROUTE, "/earlier");
    add(&one, USER, "7");
    add(&one, ROUTE, "/later");
    end(&one);
    keep(800);
    begin(&one);
    add(&one, ROUTE, "/whole");
    one.attributes[one.attributes_bytes] = ROUTE; /* an entry that is cut off */
    one.attributes[one.attributes_bytes + 1] = 9;
    one.attributes_bytes += 5;
    end(&one);
    keep(900);
    const char *none = heapsum_tag("tenant 42");
    keep(1000);
    heapsum_tag(none);
    keep(1100);
    begin(&one);
    add(&one, ROUTE, "");
    end(&one);
    keep(1200);
    memset(text, 'x', 255);
    text[255] = '\0';
    begin(&one);
    add(&one, ROUTE, text);
    end(&one);
    keep(1300);
    begin(&one);
    add(&one, 200, "of no name");
    end(&one);
    keep(1400);
    change(&one, "GET", "/orders");
    one.valid = 2;
    keep(1500);
    one.valid = 1;
    keep(1600);
    one.attributes_bytes = 0;
    keep(1700);
    writer->attach(NULL);
}

static pthread_barrier_t begun;

static void *work(void *number) {
    struct traced_record *record = calloc(1, sizeof *record);
    char own[32];
    snprintf(own, sizeof own, "/own/%d", (int)(intptr_t)number);
    pthread_barrier_wait(&begun);
    for (int i = 0; i < 1000; i++) {
        void *volatile block = malloc(16);
        change(record, "GET", own);
        writer->attach(record);
        block = malloc(32);
        change(record, "GET", "/shared");
        block = malloc(64);
        (void)block;
        writer->attach(NULL);
    }
    free(record);
    return NULL;
}

static void run_threads(int threads) {
    pthread_t ids[64];
    writer->publish("tlsdesc_v1_dev", names, 3);
    pthread_barrier_init(&begun, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
}

static volatile sig_atomic_t handled;
static void handle(int signal) {
    static struct traced_record own;
    handled++;
    struct traced_record *earlier = writer->attached();
    (void)signal;
    change(&own, "GET", "/handler");
    writer->attach(&own);
    void *volatile block = malloc(48);
    free(block);
    writer->attach(earlier);
}

__attribute__((noinline)) static void allocate(size_t bytes) {
    void *volatile block = malloc(bytes);
    free(block);
}

static void run_signals(int milliseconds) {
    static struct traced_record record;
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct timespec start, now;
    writer->publish("tls_v1", names, 3);
    change(&record, "GET", "/even");
    writer->attach(&record);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 100}, {0, 100}}, NULL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    long passed;
    do {
        for (int i = 0; i < 100; i++) {
            change(&record, "GET", "/odd");
            allocate(24);
            change(&record, "GET", "/even");
            allocate(40);
            allocate(40);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        passed = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
        /* Longer where the machine has other work, up to a minute. */
    } while (passed < milliseconds || (handled < 100 && passed < 60000));
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    writer->attach(NULL);
}

static void run_late(void) {
    static struct traced_record record;
    static const char *const more[] = {"http.method", "user.id", "server", "http.route"},
                             *const other[] = {"http.route", "http.method"};
    begin(&record);
    add(&record, METHOD, "GET");
    add(&record, 3, "/late");
    end(&record);
    writer->attach(&record);
    keep(100); /* of no process context */
    wait_a_moment();
    writer->publish("tls_v1", more, 3);
    keep(200); /* of one without the attribute */
    wait_a_moment();
    keep(300);
    writer->publish("tls_v1", more, 4);
    wait_a_moment();
    keep(400); /* the same record; now its last number has a name */
    begin(&record);
    add(&record, 3, "/next");
    end(&record);
    keep(500);
    writer->withdraw();
    writer->publish("tls_v1", other, 2); /* against the text, which knows no such change */
    wait_a_moment();
    begin(&record);
    add(&record, 0, "/other");
    end(&record);
    keep(600);
    writer->attach(NULL);
}

/* New numbers must be read at once, before the record that has them counts. */
static void run_growing(void) {
    static struct traced_record record;
    static const char *const more[] = {"a", "b", "c", "d", "http.route"};
    begin(&record);
    add(&record, 0, "GET");
    end(&record);
    writer->publish("tls_v1", more, 4);
    writer->attach(&record);
    keep(100);
    writer->publish("tls_v1", more, 5);
    begin(&record);
    add(&record, 4, "/grown");
    end(&record);
    keep(200);
    writer->attach(NULL);
}

static void run_fork(void) {
    static struct traced_record record;
    static const char *const childs[] = {"http.route"};
    writer->publish("tls_v1", names, 3);
    change(&record, "GET", "/parent");
    writer->attach(&record);
    keep(1000);
    pid_t child = fork();
    if (child == 0) {
        keep(2000); /* its numbers mean nothing here */
        writer->withdraw();
        writer->publish("tls_v1", childs, 1);
        begin(&record);
        add(&record, 0, "/child");
        end(&record);
        wait_a_moment();
        keep(3000);
        writer->attach(NULL);
        keep(4000);
        fflush(NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    keep(5000);
    writer->attach(NULL);
}

static void publish_odd(const void *payload, uint32_t bytes) {
    writer->publish_bytes(payload, bytes);
    wait_a_moment();
}

static void run_odd(void) {
    static struct traced_record record;
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    writer->publish("tls_v1", names, 3);
    munmap(page + 4096, 4096);
    change(&record, "GET", "/right");
    writer->attach((struct traced_record *)(uintptr_t)0x1234);
    keep(100);
    writer->attach((struct traced_record *)((uintptr_t)&record + 1));
    keep(200);
    writer->attach((struct traced_record *)(page + 4096));
    keep(300);
    writer->attach((struct traced_record *)(page + 4096 - 20)); /* its end is on the page that is not there */
    keep(400);
    struct traced_record *at_end = (struct traced_record *)(page + 4096 - 28);
    at_end->valid = 1;
    at_end->attributes_bytes = 2; /* so are its attributes */
    writer->attach(at_end);
    keep(500);
    at_end->attributes_bytes = 0;
    keep(600);
    record.attributes_bytes = 1025; /* more than are read */
    writer->attach(&record);
    keep(700);
    change(&record, "GET", "/right");
    keep(800);
    writer->publish("go_pprof_labels_v1", names, 3);
    wait_a_moment();
    keep(900);
    publish_odd("\x12\x7F\x0A", 3); /* a length beyond the end */
    keep(1000);
    publish_odd("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11);
    keep(1100);
    static char large[8192];
    publish_odd(large, 0xFFFFFFFF);
    keep(1200);
    writer->publish("tls_v1", names, 3);
    wait_a_moment();
    keep(1300);
    struct traced_record *taken_away = (struct traced_record *)page;
    change(taken_away, "GET", "/right");
    writer->attach(taken_away);
    keep(1400);
    mprotect(page, 4096, PROT_NONE); /* the pointer still leads there */
    keep(1500);
    munmap(page, 4096);
    keep(1600);
    writer->attach(NULL);
}

static void run_many(int values) {
    static struct traced_record record;
    char value[32];
    writer->publish("tls_v1", names, 3);
    writer->attach(&record);
    for (int i = 0; i < values; i++) {
        snprintf(value, sizeof value, "/%d", i);
        change(&record, "GET", value);
        keep(10);
    }
    writer->attach(NULL);
}

#ifdef LIBRARY
static void *in_thread(void *bytes) {
    static _Thread_local struct traced_record record;
    keep((size_t)(uintptr_t)bytes);
    change(&record, "GET", "/thread");
    writer->attach(&record);
    keep((size_t)(uintptr_t)bytes + 1);
    writer->attach(NULL);
    return NULL;
}

static const struct traced_writer *open_writer(void **library) {
    const struct traced_writer *(*get)(void) = NULL;
    *library = dlopen(LIBRARY, RTLD_NOW);
    if (*library != NULL) *(void **)&get = dlsym(*library, "traced_writer");
    if (get != NULL) return get();
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
}

static pthread_barrier_t step;

static void *before_and_after(void *nothing) {
    static struct traced_record record;
    (void)nothing;
    change(&record, "GET", "/first");
    writer->attach(&record);
    keep(100);
    pthread_barrier_wait(&step); /* here the library goes and comes back */
    pthread_barrier_wait(&step);
    keep(200);
    change(&record, "GET", "/again");
    writer->attach(&record);
    keep(300);
    return NULL;
}

static void run_reopen(void *library) {
    pthread_t thread;
    writer->publish("tls_v1", names, 3);
    pthread_barrier_init(&step, NULL, 2);
    pthread_create(&thread, NULL, before_and_after, NULL);
    pthread_barrier_wait(&step);
    writer->withdraw();
    dlclose(library);
    writer = open_writer(&library);
    writer->publish("tls_v1", names, 3);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
}

static void run_close(void *library) {
    static struct traced_record record;
    pthread_t thread;
    writer->publish("tls_v1", names, 3);
    change(&record, "GET", "/open");
    writer->attach(&record);
    keep(100);
    pthread_create(&thread, NULL, in_thread, (void *)(uintptr_t)200);
    pthread_join(thread, NULL);
    dlclose(library);
    writer = NULL;
    keep(300);
}
#endif

static void run_told(void) {
    static struct traced_record record;
    char line[32];
    writer->publish("tls_v1", names, 3);
    change(&record, "GET", "/orders");
    writer->attach(&record);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        keep((size_t)atol(line));
        puts("kept");
        fflush(stdout);
    }
    writer->attach(NULL);
}

static void run_loop(int what, long rounds) {
    static struct traced_record record;
    writer->publish("tls_v1", names, 3);
    change(&record, "GET", "/orders/detail");
    if (what > 0) writer->attach(&record);
    for (long i = 0; i < rounds; i++) {
        if (what > 1) {
            begin(&record);
            add(&record, METHOD, "GET");
            add(&record, ROUTE, i % 2 != 0 ? "/orders/detail" : "/orders/list");
            end(&record);
        }
        allocate(64);
    }
    writer->attach(NULL);
}

int main(int arguments, char **words) {
    const char *what = arguments > 1 ? words[1] : "requests";
    const int number = arguments > 2 ? atoi(words[2]) : 1;
#ifdef LIBRARY
    keep(11);
    void *library;
    writer = open_writer(&library);
#else
    writer = traced_writer();
#endif
    if (strcmp(what, "requests") == 0) run_requests();
    else if (strcmp(what, "threads") == 0) run_threads(number);
    else if (strcmp(what, "signals") == 0) run_signals(number);
    else if (strcmp(what, "late") == 0) run_late();
    else if (strcmp(what, "growing") == 0) run_growing();
    else if (strcmp(what, "fork") == 0) run_fork();
    else if (strcmp(what, "odd") == 0) run_odd();
    else if (strcmp(what, "many") == 0) run_many(number);
    else if (strcmp(what, "told") == 0) run_told();
    else if (strcmp(what, "loop") == 0) run_loop(number, arguments > 3 ? atol(words[3]) : 1000);
#ifdef LIBRARY
    else if (strcmp(what, "close") == 0) run_close(library);
    else if (strcmp(what, "reopen") == 0) run_reopen(library);
#endif
    else return 2;
    puts("done");
    return 0;
}
