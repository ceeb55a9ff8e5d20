// A program that defines malloc itself: no library sees its calls.

let programWithItsOwnMalloc = """
    #include <stddef.h>
    static char arena[1 << 20];
    static size_t used;
    void *malloc(size_t size) { void *p = arena + used; used += (size + 15) & ~(size_t)15; return p; }
    void *calloc(size_t n, size_t size) { return malloc(n * size); }
    void *realloc(void *p, size_t size) {
        char *q = malloc(size);
        if (p) for (size_t i = 0; i < size; i++) q[i] = ((char *)p)[i];
        return q;
    }
    void free(void *p) { (void)p; }
    int main(void) { return malloc(10) == NULL; }
    """
