/* A hundred blocks, filled to the last byte; the first fifty are freed. */
#include <stdlib.h>
#include <string.h>
int main(void) {
    void *blocks[100];
    for (size_t i = 0; i < 100; i++) blocks[i] = memset(malloc(600 + i * 100), 0xFF, 600 + i * 100);
    for (int i = 0; i < 50; i++) free(blocks[i]);
    return 0;
}
