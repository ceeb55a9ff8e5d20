/* A library whose thread-local variable holds a block, among enough others that the C library has to allocate them. */
static _Thread_local struct {
    char others[9000];
    void *volatile held;
} local;

void hold_locally(void *block) { local.held = block; }
