/*
 * Finds a CPython in a module by the names that it exports, and its offsets. 3.13 says them itself (_Py_DebugOffsets);
 * 3.11 and 3.12 don't, so they are tabled here as offsetof gives them in the headers of 3.11.2, 3.11.7 and 3.12.1
 * (Include/internal/pycore_runtime.h, pycore_interp.h, pycore_frame.h; Include/cpython/pystate.h, code.h). A build with
 * other offsets (--with-trace-refs) is recognized when it is read: an object's type is compared, and the thread's state
 * has to name its thread.
 */
#include "stacks/python_layout.h"

#include <elf.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/symbols.h"

static const struct python_layout layout_3_11 = {
    .runtime = {.finalizing = 24, .key = 592, .holder = 576},
    .state = {.thread = 152, .cframe = 56, .root_frame = 336},
    .cframe = {.frame = 8, .previous = 16},
    .frame = {.code = 32, .previous = 48, .instruction = 56, .owner = 69},
    .code = {.first_line = 72, .file = 112, .name = 128, .lines = 136, .first_traceable = 168, .instructions = 184},
    .string = {.state = 32, .length = 16, .hash = 24, .ascii = 48, .wide = 72},
    .bytes = {.size = 16, .bytes = 32},
    .type = 8,
};

static const struct python_layout layout_3_12 = {
    .runtime = {.finalizing = 24, .key = 1544, .holder = 76392 + 1048, .locked = 76392 + 1056},
    .state = {.thread = 136, .cframe = 56},
    .cframe = {.frame = 0, .previous = 8},
    .frame = {.code = 0, .previous = 8, .instruction = 56, .owner = 70},
    .code = {.first_line = 68, .file = 112, .name = 128, .lines = 136, .first_traceable = 176, .instructions = 192},
    .string = {.state = 32, .length = 16, .hash = 24, .ascii = 40, .wide = 56},
    .bytes = {.size = 16, .bytes = 32},
    .type = 8,
};

/* What 3.13 doesn't say itself, from the headers of 3.13.0; so it is in 3.13.18. The value is checked each time: it has
 * to be the holder of the interpreter's lock, or to name its thread. */
#define KEY_3_13 2160

/* The beginning of _PyRuntime in 3.13 (Include/internal/pycore_runtime.h, struct _Py_DebugOffsets). */
struct debug_offsets {
    char cookie[8];
    uint64_t version, free_threaded;
    struct {
        uint64_t size, finalizing, interpreters_head;
    } runtime;
    struct {
        uint64_t size, id, next, threads_head, gc, imports_modules, sysdict, builtins, ceval_gil, gil, gil_enabled,
            gil_locked, gil_holder;
    } interpreter;
    struct {
        uint64_t size, previous, next, interpreter, current_frame, thread_id, native_thread_id, datastack_chunk, status;
    } state;
    struct {
        uint64_t size, previous, executable, instruction, locals, owner;
    } frame;
    struct {
        uint64_t size, file, name, qualified_name, lines, first_line, argument_count, local_names, local_kinds,
            instructions;
    } code;
    struct {
        uint64_t size, type;
    } object;
    uint64_t types[4], tuples[3], lists[3], dictionaries[3], floats[2], integers[3];
    struct {
        uint64_t size, length, bytes;
    } bytes;
    struct {
        uint64_t size, state, length, ascii;
    } string;
};

/* The runtime's bytes, all of them variables of its module, so they can be read in place. */
#define RUNTIME_MOST ((uint64_t)16 << 20)

/*
 * The lock of 3.13's main interpreter, which is the runtime's last member: the difference of their sizes is its place.
 * (The place itself differs by patch version: 88,352 in 3.13.0, 88,400 in 3.13.5.) An interpreter may use another one's
 * lock, and has a pointer to the one that it uses. So the main one's pointer tells, at each reading, whether this is
 * the place. False if an offset is outside of the interpreter.
 */
static bool find_lock(const struct debug_offsets *says, struct python_layout *layout) {
    const uint64_t runtime = says->runtime.size, interpreter = says->interpreter.size;
    const uint64_t inside[] = {
        says->interpreter.ceval_gil, says->interpreter.gil, says->interpreter.gil_locked, says->interpreter.gil_holder};
    if (runtime > RUNTIME_MOST || interpreter > runtime || interpreter < 8 || (runtime - interpreter) % 8 != 0)
        return false;
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++)
        if (inside[i] > interpreter - 8 || inside[i] % 4 != 0) return false;
    const uint32_t main = (uint32_t)(runtime - interpreter);
    layout->runtime.used_lock = main + (uint32_t)says->interpreter.ceval_gil;
    layout->runtime.lock = main + (uint32_t)says->interpreter.gil;
    layout->runtime.locked = main + (uint32_t)says->interpreter.gil_locked;
    layout->runtime.holder = main + (uint32_t)says->interpreter.gil_holder;
    return layout->runtime.used_lock % 8 == 0 && layout->runtime.holder % 8 == 0;
}

static bool read_offsets(const struct loaded *module, struct python_runtime *runtime) {
    struct debug_offsets says;
    if (!memory_fetch(&says, runtime->address, sizeof says) || memcmp(says.cookie, "xdebugpy", 8) != 0
        || says.version != runtime->version || says.free_threaded != 0)
        return false;
    const uint64_t in_state[] = {says.state.thread_id, says.state.current_frame},
                   in_frame[] = {says.frame.executable, says.frame.previous, says.frame.instruction, says.frame.owner},
                   in_code[] = {says.code.first_line, says.code.file, says.code.qualified_name, says.code.lines,
                       says.code.instructions},
                   in_string[] = {says.string.state, says.string.length, says.string.ascii, says.bytes.length,
                       says.bytes.bytes, says.object.type};
#define ALL_BELOW(values, most) \
    for (size_t i = 0; i < sizeof(values) / sizeof(values)[0]; i++) \
        if ((values)[i] > (most)-8) return false
    ALL_BELOW(in_state, PYTHON_STATE_BYTES);
    ALL_BELOW(in_frame, PYTHON_FRAME_BYTES);
    ALL_BELOW(in_code, PYTHON_CODE_BYTES);
    ALL_BELOW(in_string, PYTHON_STRING_BYTES);
#undef ALL_BELOW
    if (says.runtime.size < KEY_3_13 + 8 || says.runtime.size > module->end - runtime->address
        || says.runtime.finalizing > says.runtime.size - 8 || says.runtime.finalizing % 8 != 0
        || says.code.instructions < 16)
        return false;
    runtime->layout = (struct python_layout){
        .runtime = {.finalizing = (uint32_t)says.runtime.finalizing, .key = KEY_3_13},
        .state = {.thread = (uint32_t)says.state.thread_id, .frame = (uint32_t)says.state.current_frame},
        .frame = {.code = (uint32_t)says.frame.executable,
            .previous = (uint32_t)says.frame.previous,
            .instruction = (uint32_t)says.frame.instruction,
            .owner = (uint32_t)says.frame.owner},
        .code = {.first_line = (uint32_t)says.code.first_line,
            .file = (uint32_t)says.code.file,
            .name = (uint32_t)says.code.qualified_name,
            .lines = (uint32_t)says.code.lines,
            .first_traceable = (uint32_t)says.code.instructions - 16,
            .instructions = (uint32_t)says.code.instructions},
        .string = {.state = (uint32_t)says.string.state,
            .length = (uint32_t)says.string.length,
            .hash = (uint32_t)says.string.length + 8,
            .ascii = (uint32_t)says.string.ascii,
            .wide = (uint32_t)says.string.ascii + 16},
        .bytes = {.size = (uint32_t)says.bytes.length, .bytes = (uint32_t)says.bytes.bytes},
        .type = (uint32_t)says.object.type,
    };
    return find_lock(&says, &runtime->layout);
}

static bool find_layout(const struct loaded *module, struct python_runtime *runtime) {
    runtime->by_cframes = runtime->version >> 16 == 0x030B;
    switch (runtime->version >> 16) {
        case 0x030B: runtime->layout = layout_3_11; return true;
        case 0x030C: runtime->layout = layout_3_12; return true;
        case 0x030D: return read_offsets(module, runtime);
        default: return false;
    }
}

/* ---- Finding it -------------------------------------------------------------------------------------- */

/* A CPython that was found. It never changes once it is ready, so a thread may read it while another CPython is found.
 */
static struct found {
    struct python_runtime runtime;
    uintptr_t start, end; /* of its module */
    uint32_t generation;  /* of the modules, when it was last seen to be loaded */
    uint32_t state;
} found_ones[16];
enum { FREE, TAKING, READY };
static struct found *current; /* the one that is loaded; NULL: none is known */

/* Modules of greenlet. There is one, but a program may have a second copy. */
static struct module_span greenlets[4];

/* The module's dynamic section; 0 if its headers can't be read. */
static uintptr_t dynamic_of(const struct loaded *module) {
    ElfW(Ehdr) elf;
    if (!memory_fetch(&elf, module->start, sizeof elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0
        || elf.e_phentsize != sizeof(ElfW(Phdr)))
        return 0;
    for (size_t i = 0; i < elf.e_phnum && i < 64; i++) {
        ElfW(Phdr) segment;
        if (!memory_fetch(&segment, module->start + elf.e_phoff + i * sizeof segment, sizeof segment)) return 0;
        if (segment.p_type == PT_DYNAMIC) return module->bias + segment.p_vaddr;
    }
    return 0;
}

static bool read_symbols(const struct loaded *module, struct symbols *symbols) {
    const uintptr_t dynamic = dynamic_of(module);
    return dynamic != 0 && symbols_read(dynamic, module->bias, true, symbols);
}

static bool find(const struct symbols *symbols, const struct loaded *module, struct python_runtime *runtime) {
    uint64_t version;
    *runtime = (struct python_runtime){.address = symbols_find(symbols, "_PyRuntime", SYMBOL_VARIABLE)};
    if (runtime->address - module->start >= module->end - module->start) return false;
    const uintptr_t place = symbols_find(symbols, "Py_Version", SYMBOL_VARIABLE); /* from 3.11 on */
    if (place != 0 && memory_fetch(&version, place, sizeof version)) runtime->version = (uint32_t)version;
    runtime->code_type = symbols_find(symbols, "PyCode_Type", SYMBOL_VARIABLE);
    runtime->string_type = symbols_find(symbols, "PyUnicode_Type", SYMBOL_VARIABLE);
    runtime->is_read = runtime->code_type != 0 && runtime->string_type != 0 && find_layout(module, runtime);
    return true;
}

static bool is_same(const struct python_runtime *a, const struct python_runtime *b) {
    return a->address == b->address && a->version == b->version && a->code_type == b->code_type
        && a->string_type == b->string_type && a->is_read == b->is_read;
}

/* Of two threads that find it at once, each has it when this returns. */
static void keep(const struct python_runtime *runtime, const struct loaded *module) {
    for (size_t i = 0; i < sizeof found_ones / sizeof found_ones[0]; i++) {
        struct found *one = &found_ones[i];
        uint32_t seen = load_acquire(&one->state); /* partner: the release below */
        if (seen == FREE && cas_acq_rel(&one->state, &seen, TAKING)) {
            one->runtime = *runtime;
            one->start = module->start;
            one->end = module->end;
            store_release(&one->state, READY);
        } else if (seen != READY || !is_same(&one->runtime, runtime) || one->start != module->start
            || one->end != module->end) {
            continue;
        }
        store_relaxed(&one->generation, loader_generation());
        store_release(&current, one); /* partner: python_runtime */
        return;
    }
}

static void keep_greenlet(const struct loaded *module) {
    for (size_t i = 0; i < sizeof greenlets / sizeof greenlets[0]; i++) {
        uintptr_t start = load_relaxed(&greenlets[i].start);
        if (start == module->start) return;
        if (start == 0 && cas_relaxed(&greenlets[i].start, &start, module->start)) {
            store_relaxed(&greenlets[i].end, module->end);
            return;
        }
        if (start == module->start) return;
    }
}

void python_look(const struct loaded *module) {
    struct symbols symbols;
    struct python_runtime runtime;
    if (!read_symbols(module, &symbols)) return;
    if (symbols_find(&symbols, "PyInit__greenlet", SYMBOL_FUNCTION) != 0) keep_greenlet(module);
    if (python_runtime() == NULL && find(&symbols, module, &runtime)) keep(&runtime, module);
}

/* Whether the module is still there after others were unloaded. */
static __attribute__((noinline)) bool is_loaded(struct found *one, uint32_t now) {
    struct loaded module;
    struct symbols symbols;
    struct python_runtime again;
    if (loader_find(one->runtime.address, &module) && module.start == one->start && module.end == one->end
        && read_symbols(&module, &symbols) && find(&symbols, &module, &again) && is_same(&again, &one->runtime)) {
        store_relaxed(&one->generation, now);
        return true;
    }
    cas_relaxed(&current, &one, NULL);
    return false;
}

const struct python_runtime *python_runtime(void) {
    struct found *one = load_acquire(&current); /* partner: keep */
    if (one == NULL) return NULL;
    const uint32_t now = loader_generation();
    if (unlikely(load_relaxed(&one->generation) != now) && !is_loaded(one, now)) return NULL;
    return &one->runtime;
}

bool python_has_greenlets(void) { return load_relaxed(&greenlets[0].start) != 0; }

bool python_is_greenlets(uintptr_t pc) {
    for (size_t i = 0; i < sizeof greenlets / sizeof greenlets[0]; i++)
        if (module_span_holds_surely(&greenlets[i], pc)) return true;
    return false;
}
