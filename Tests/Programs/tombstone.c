/*
 * A model of the blind tombstone (docs/tombstone.md): all orders in which two threads can do its loads and stores, with
 * a kill after each, and a reader of the image that is left. One address, its slot, a ring a thread, and the counters.
 *
 * A thread's steps are loads and stores of shared words, one a step. After each step of any order, a reader counts what
 * is allocated, freed and live, from the image alone, and is held against what truly happened. In the end all must be
 * folded and counted once.
 *
 * With a fault's name, one rule is left out; then the model must find an order in which the reader is wrong.
 * usage: tombstone [plain-publish | no-journal | stale-entry | head-first | take-and-lose]
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum fault { NONE, PLAIN_PUBLISH, NO_JOURNAL, STALE_ENTRY, HEAD_FIRST, TAKE_AND_LOSE, FAULTS };
static const char *const fault_names[] = {
    "none", "plain-publish", "no-journal", "stale-entry", "head-first", "take-and-lose"};
static enum fault fault;

/* A slot's word: a block's number (0: none), and the tombstone's byte; or a claim. */
enum { DEAD = 0x40, CLAIM = 0x80 };

/* An event. NOTHING: no event, or one that was taken back. TOMB: a free that has looked at nothing. REPLACED: what a
 * publisher found dead in its slot; it stands or falls with the event behind it. */
enum kind { NOTHING, ALLOCATED, FREED, REPLACED, TOMB };
struct event {
    uint8_t kind, word, sequence;
};

/* What a thread does, one after the other. */
enum op { END, MALLOC, FREE, REALLOC, FOLD };
#define OPS 8

#define EVENTS 16
struct thread {
    /* in the image */
    struct event ring[EVENTS];
    uint8_t head, folded;
    uint8_t journal, journal_sequence; /* the dead word that a fold is about to take, and for which event, plus one */
    uint8_t claimed;                   /* the word under this thread's claim */
    /* its own */
    uint8_t op, step, seen;
    bool took;
};

struct state {
    struct thread threads[2];
    uint8_t slot;
    uint8_t allocated, freed, unmatched; /* the counters */
    uint8_t owner;                       /* who has the address: a thread's number plus one; 0: the allocator */
    uint8_t next_word;
    struct { /* what truly happened */
        uint8_t allocated, freed, unmatched;
    } truth;
    uint8_t killer; /* the thread whose tombstone the slot has */
    bool misdated;  /* a free was counted by a thread that doesn't know when it was */
};

static const uint8_t (*program)[OPS];
static bool equal_words; /* all blocks have one stack, tick and size */
static uint64_t kills, states, misdated_ends, ends;

/* ---- The reader ------------------------------------------------------------------------------------------------ */

/* The event that was written as number `sequence`, committed or not. */
static const struct event *written(const struct thread *thread, uint8_t sequence) {
    const struct event *event = &thread->ring[sequence % EVENTS];
    return event->kind != NOTHING && event->sequence == sequence ? event : NULL;
}

static void replay(const struct event *event, int *allocated, int *freed, int *unmatched) {
    if (event->kind == ALLOCATED) ++*allocated;
    if (event->kind == FREED) ++*freed;
    if (event->kind == REPLACED) event->word & ~DEAD ? ++*freed : ++*unmatched;
}

/* Whether a reader of this image can be right: its counts are the truth, but for a half folded event of each thread,
 * which it settles by allocated - freed = live. */
static bool reads_right(const struct state *state) {
    int allocated = state->allocated, freed = state->freed, unmatched = state->unmatched, live = 0;
    if (state->slot == CLAIM || state->slot == (CLAIM | 1)) {
        live = 1; /* the record that the claim names has the block */
    } else if (state->slot & DEAD) {
        state->slot & ~DEAD ? freed++ : unmatched++;
    } else if (state->slot != 0) {
        live = 1;
    }
    struct {
        int allocated, freed, unmatched;
    } half[2] = {{0, 0, 0}, {0, 0, 0}};
    for (int t = 0; t < 2; t++) {
        const struct thread *thread = &state->threads[t];
        for (uint8_t n = thread->folded; n < thread->head; n++)
            replay(&thread->ring[n % EVENTS], &allocated, &freed, &unmatched);
        /* Not committed: one event, or one that replaced a dead word or another block's, and its allocation. */
        const struct event *one = written(thread, thread->head), *two = written(thread, thread->head + 1);
        const struct event *last = one != NULL && one->kind != ALLOCATED && one->kind != TOMB ? two : one;
        if (last != NULL && last->kind == ALLOCATED && state->slot == last->word) {
            replay(one, &allocated, &freed, &unmatched);
            if (last != one) replay(last, &allocated, &freed, &unmatched);
        }
        if (thread->folded < thread->head) {
            const struct event *event = &thread->ring[thread->folded % EVENTS];
            int a = 0, f = 0, u = 0;
            replay(event, &a, &f, &u);
            half[t].allocated = -a, half[t].freed = -f, half[t].unmatched = -u;
            if (event->kind == TOMB && thread->journal_sequence == thread->folded + 1)
                thread->journal & ~DEAD ? (half[t].freed = 1) : (half[t].unmatched = 1);
        }
    }
    for (int choice = 0; choice < 4; choice++) {
        int a = allocated, f = freed, u = unmatched;
        for (int t = 0; t < 2; t++)
            if (choice >> t & 1) a += half[t].allocated, f += half[t].freed, u += half[t].unmatched;
        if (a - f == live && a == state->truth.allocated && f == state->truth.freed && u == state->truth.unmatched)
            return true;
    }
    return false;
}

/* ---- The steps -------------------------------------------------------------------------------------------------- */

static void write_event(struct thread *thread, uint8_t at, enum kind kind, uint8_t word) {
    thread->ring[at % EVENTS] = (struct event){(uint8_t)kind, word, at};
}
static void next_op(struct thread *thread) {
    thread->op++;
    thread->step = 0;
}
static void publish(struct state *state, uint8_t word) {
    state->slot = word;
    state->truth.allocated++;
}

/* A block that the allocator gave: look at the slot; write the events; publish; commit. */
static bool step_malloc(struct state *state, int self) {
    struct thread *thread = &state->threads[self];
    switch (thread->step) {
        case 0: /* the real call */
            if (state->owner != 0) return false;
            state->owner = (uint8_t)(self + 1);
            state->next_word++;
            thread->step = 1;
            return true;
        case 1:
            thread->seen = state->slot;
            thread->step = thread->seen & DEAD ? 2 : 6;
            return true;
        case 2:
            write_event(thread, thread->head, REPLACED, thread->seen);
            thread->step = 3;
            return true;
        case 3:
            write_event(thread, thread->head + 1, ALLOCATED, equal_words ? 1 : state->next_word);
            thread->step = 4;
            return true;
        case 4: { /* a locked compare and swap: a fold may take the dead word meanwhile */
            bool swapped = state->slot == thread->seen || fault == PLAIN_PUBLISH;
            if (swapped && state->killer != self) state->misdated = true;
            if (swapped) publish(state, equal_words ? 1 : state->next_word);
            thread->step = swapped ? 9 : fault == STALE_ENTRY ? 6 : 5;
            return true;
        }
        case 5: /* the events of the attempt are taken back, the outer one first */
            write_event(thread, thread->head + 1, NOTHING, 0);
            thread->step = 6;
            return true;
        case 6:
            write_event(thread, thread->head, ALLOCATED, equal_words ? 1 : state->next_word);
            thread->step = 7;
            return true;
        case 7:
            publish(state, equal_words ? 1 : state->next_word);
            thread->step = 8;
            return true;
        case 8:
            thread->head += 1;
            next_op(thread);
            return true;
        default:
            thread->head += 2;
            next_op(thread);
            return true;
    }
}

/* The event; the tombstone, by a store that looks at nothing; the head; the real call. */
static bool step_free(struct state *state, int self) {
    struct thread *thread = &state->threads[self];
    switch (thread->step++) {
        case 0: write_event(thread, thread->head, TOMB, 0); return true;
        case 1:
            if (fault == HEAD_FIRST) state->owner = 0; /* the real call too early */
            state->slot & 0x3F ? state->truth.freed++ : state->truth.unmatched++;
            state->slot |= DEAD;
            state->killer = (uint8_t)self;
            return true;
        case 2: thread->head++; return true;
        default:
            state->owner = 0;
            next_op(thread);
            return true;
    }
}

/* In place: the block stands in the record while the slot holds the claim. */
static bool step_realloc(struct state *state, int self) {
    struct thread *thread = &state->threads[self];
    uint8_t fresh = equal_words ? 1 : (uint8_t)(state->next_word);
    switch (thread->step++) {
        case 0: thread->seen = state->slot; return true;
        case 1: thread->claimed = thread->seen; return true;
        case 2: state->slot = (uint8_t)(CLAIM | self); return true;
        case 3: state->next_word++; return true; /* the real call */
        case 4: write_event(thread, thread->head, FREED, thread->seen); return true;
        case 5: write_event(thread, thread->head + 1, ALLOCATED, fresh); return true;
        case 6:
            publish(state, fresh);
            state->truth.freed++;
            return true;
        default:
            thread->head += 2;
            next_op(thread);
            return true;
    }
}

/* Each event: added, then `folded`. A tombstone's: look at the slot, note the word, take it by a locked compare and
 * swap, add, `folded`. */
static bool step_fold(struct state *state, int self) {
    struct thread *thread = &state->threads[self];
    if (thread->folded == thread->head) {
        next_op(thread);
        return true;
    }
    const struct event *event = &thread->ring[thread->folded % EVENTS];
    switch (thread->step) {
        case 0:
            if (event->kind == TOMB) {
                thread->seen = state->slot;
                thread->step = thread->seen & DEAD ? (fault == NO_JOURNAL ? 2 : 1) : 4;
                return true;
            }
            if (event->kind == ALLOCATED) state->allocated++;
            else if (event->kind == FREED || event->word & ~DEAD) state->freed++;
            else state->unmatched++;
            thread->step = 4;
            return true;
        case 1:
            thread->journal = thread->seen;
            thread->journal_sequence = thread->folded + 1;
            thread->step = 2;
            return true;
        case 2:
            thread->took = state->slot == thread->seen;
            if (thread->took) state->slot = 0;
            if (thread->took && state->killer != self) state->misdated = true;
            thread->step = thread->took ? 3 : 4;
            if (fault == TAKE_AND_LOSE) thread->step = 4;
            return true;
        case 3:
            thread->seen & 0x3F ? state->freed++ : state->unmatched++;
            thread->step = 4;
            return true;
        default:
            thread->folded++;
            thread->step = 0;
            return true;
    }
}

static bool step(struct state *state, int self) {
    switch (program[self][state->threads[self].op]) {
        case MALLOC: return step_malloc(state, self);
        case FREE: return step_free(state, self);
        case REALLOC: return step_realloc(state, self);
        case FOLD: return step_fold(state, self);
        default: return false;
    }
}

/* ---- All orders ------------------------------------------------------------------------------------------------- */

#define TABLE (1u << 22)
static struct state *known;
static uint8_t *used;

static bool is_new(const struct state *state) {
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < sizeof *state; i++) hash = (hash ^ ((const uint8_t *)state)[i]) * 0x100000001B3u;
    for (uint32_t at = (uint32_t)(hash >> 20) % TABLE;; at = (at + 1) % TABLE) {
        if (!used[at]) {
            if (++states > TABLE / 4 * 3) abort();
            used[at] = 1;
            known[at] = *state;
            return true;
        }
        if (memcmp(&known[at], state, sizeof *state) == 0) return false;
    }
}

static bool explore(const struct state *state) {
    bool moved = false;
    for (int self = 0; self < 2; self++) {
        struct state next = *state;
        if (!step(&next, self)) continue;
        moved = true;
        if (!is_new(&next)) continue;
        kills++;
        if (!reads_right(&next) || !explore(&next)) return false;
    }
    if (moved) return true;
    ends++;
    misdated_ends += state->misdated;
    return state->allocated == state->truth.allocated && state->freed == state->truth.freed
        && state->unmatched == state->truth.unmatched;
}

int main(int count, char **arguments) {
    for (int i = 0; count > 1 && i < FAULTS; i++)
        if (strcmp(arguments[1], fault_names[i]) == 0) fault = (enum fault)i;
    if (count > 2 || (count == 2 && fault == NONE)) {
        fprintf(stderr, "usage: tombstone [plain-publish | no-journal | stale-entry | head-first | take-and-lose]\n");
        return 64;
    }
    static const uint8_t programs[][2][OPS] = {
        {{MALLOC, FREE, FOLD}, {MALLOC, FREE, FOLD}},
        {{MALLOC, FREE, MALLOC, FREE, FOLD}, {MALLOC, FREE, FOLD, MALLOC, FREE, FOLD}},
        {{MALLOC, FREE, MALLOC, FREE, FOLD, FOLD}, {MALLOC, REALLOC, FREE, FOLD}},
        {{MALLOC, FREE, FOLD}, {MALLOC, REALLOC, FREE, MALLOC, FOLD}},
        {{FREE, FOLD}, {MALLOC, FREE, FOLD}}, /* a block that is not booked */
        {{FREE, MALLOC, FREE, FOLD}, {MALLOC, FOLD, FREE, FOLD}},
    };
    known = calloc(TABLE, sizeof *known);
    used = calloc(TABLE, 1);
    if (known == NULL || used == NULL) return 1;
    for (size_t i = 0; i < 2 * sizeof programs / sizeof *programs; i++) {
        program = programs[i / 2];
        equal_words = i % 2;
        memset(used, 0, TABLE);
        states = 0;
        struct state start;
        memset(&start, 0, sizeof start);
        start.owner = program[0][0] == FREE;
        if (!explore(&start)) {
            printf("wrong: program %zu, %s words\n", i / 2, equal_words ? "equal" : "different");
            return 1;
        }
    }
    printf("exact: %llu kills, %llu ends, %llu of them misdated\n", (unsigned long long)kills, (unsigned long long)ends,
        (unsigned long long)misdated_ends);
    return 0;
}
