// A message store whose process stays as large as its busiest hour. Each message is parsed into nodes that are freed
// as soon as it is stored; what stays is a line of the index for every 32nd node. So a small block that lives long lies
// between large numbers of blocks that don't, on nearly every page.
//
//   pinned-pages SECONDS [MEGABYTES]      the most that the parsed nodes take: 256
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODE_BYTES = 232, NODES_PER_LINE = 32 };

struct node {
    struct node *next;
    char text[NODE_BYTES - sizeof(struct node *)];
};

struct line {
    struct line *next;
    uint64_t place;
    char word[24];
};

static struct line *index_lines;

__attribute__((noinline)) static struct node *parse_node(struct node *rest, uint64_t place) {
    struct node *node = malloc(sizeof *node);
    if (!node) abort();
    node->next = rest;
    snprintf(node->text, sizeof node->text, "node %llu", (unsigned long long)place);
    memset(node->text + 100, ' ', sizeof node->text - 100);
    return node;
}

__attribute__((noinline)) static void add_to_index(const struct node *node, uint64_t place) {
    struct line *line = malloc(sizeof *line);
    if (!line) abort();
    line->next = index_lines;
    line->place = place;
    snprintf(line->word, sizeof line->word, "%.23s", node->text);
    index_lines = line;
}

__attribute__((noinline)) static void store_messages(uint64_t nodes) {
    struct node *parsed = NULL;
    for (uint64_t place = 0; place < nodes; place++) {
        parsed = parse_node(parsed, place);
        if (place % NODES_PER_LINE == 0) add_to_index(parsed, place);
    }
    while (parsed) {
        struct node *next = parsed->next;
        free(parsed);
        parsed = next;
    }
}

int main(int count, char **words) {
    unsigned seconds = count > 1 ? (unsigned)atoi(words[1]) : 3;
    uint64_t megabytes = count > 2 ? strtoull(words[2], NULL, 10) : 256;
    store_messages((megabytes << 20) / (NODE_BYTES + 8));
    printf("stored\n");
    fflush(stdout);
    sleep(seconds);
    return 0;
}
