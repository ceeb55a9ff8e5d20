// The service that grew for a week.
//
// Each request is read into a session, which is freed when it is answered; the number of open sessions goes up
// in the morning and down at night. Answers are cached, and the cache is full after the first day. A request that
// times out takes the early way out of answer(): it frees the session, and forgets the trace that it had begun.
// One request in fifty does. A day's growth is far less than what comes and goes within the day, so no graph of
// resident memory shows it before the week is over.
//
// A dump a day does: heapsum diff ranks the stacks by growth, and says of each which shape it has:
//
//     begin_trace <- answer <- serve_day <- main      steady growth
//     open_session <- serve_day <- main               up and down
//     remember <- answer <- serve_day <- main         flat, after the first day
//
// The cure is end_trace() on the early way out, too.
//
// usage: slow-growth [seconds a day [days]]
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CACHE_ENTRIES = 4096, MOST_SESSIONS = 600, STEPS_A_DAY = 240, REQUESTS_A_STEP = 25 };

struct session {
    char *request;
};
struct trace {
    char spans[400];
};

static char *cache[CACHE_ENTRIES];
static unsigned seed = 1;

static unsigned random_number(unsigned below) {
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % below;
}

__attribute__((noinline)) static struct session *open_session(unsigned number) {
    struct session *session = malloc(sizeof *session);
    if (!session || !(session->request = malloc(16384))) abort();
    snprintf(session->request, 16384, "request %u", number);
    return session;
}

__attribute__((noinline)) static void close_session(struct session *session) {
    free(session->request);
    free(session);
}

__attribute__((noinline)) static struct trace *begin_trace(const char *request) {
    struct trace *trace = malloc(sizeof *trace);
    if (!trace) abort();
    snprintf(trace->spans, sizeof trace->spans, "answering %s", request);
    return trace;
}

__attribute__((noinline)) static void end_trace(struct trace *trace) { free(trace); }

__attribute__((noinline)) static void remember(unsigned number, const char *answer) {
    char **entry = &cache[number % CACHE_ENTRIES];
    free(*entry);
    *entry = strdup(answer);
}

__attribute__((noinline)) static void answer(struct session *session, unsigned number) {
    struct trace *trace = begin_trace(session->request);
    if (random_number(50) == 0) { // timed out
        close_session(session);
        return; // and the trace?
    }
    char text[512];
    snprintf(text, sizeof text, "%-500s", session->request);
    remember(number, text);
    end_trace(trace);
    close_session(session);
}

__attribute__((noinline)) static void serve_day(double seconds) {
    static struct session *open[MOST_SESSIONS];
    static unsigned count, number;
    for (int step = 0; step < STEPS_A_DAY; step++) {
        // As many open sessions as the hour has: fewest at midnight, most at noon, never the same on two days.
        double hour = 24.0 * step / STEPS_A_DAY;
        unsigned wanted =
            (unsigned)((0.55 - 0.45 * cos(hour / 24 * 2 * M_PI)) * (MOST_SESSIONS - 60)) + random_number(60);
        for (int request = 0; request < REQUESTS_A_STEP; request++) {
            if (count > 0) {
                unsigned which = random_number(count);
                struct session *session = open[which];
                open[which] = open[--count];
                answer(session, number++);
            }
            open[count++] = open_session(number);
        }
        while (count > wanted) answer(open[--count], number++);
        while (count < wanted) open[count++] = open_session(number);
        struct timespec pause = {(time_t)(seconds / STEPS_A_DAY), (long)(fmod(seconds / STEPS_A_DAY, 1) * 1e9)};
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 4;
    int days = argc > 2 ? atoi(argv[2]) : 7;
    for (int day = 1; day <= days; day++) {
        serve_day(seconds);
        printf("day %d is over\n", day);
        fflush(stdout);
    }
    return 0;
}
