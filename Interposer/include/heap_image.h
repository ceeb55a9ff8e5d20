/*
 * The heap image: the file that holds everything the interposer knows about a program's heap.
 *
 * This header and the parts that it includes are the format's only definition. The interposer (C) writes the format,
 * and the tools (Swift) import it. They own the layout only: their functions compute with their arguments and touch no
 * other memory.
 *
 * The format has two shapes. `kind` says which one a file has:
 *
 *   running   sparse: the live map lies in SLOTS (pieces of a radix tree, described by PIECES).
 *             Every section is a bump region: entries [0, used) were handed out, and only those
 *             below `ready_bytes` have memory. INDEX and TOPS are used by the recorder only;
 *             a reader never needs them.
 *   dense     written by a dump or by `heapsum pack`: the same sections end to end, and the live map
 *             as records in BLOCKS, in no particular order. NAMES may hold the frames' names.
 *
 * All fields are little-endian and have a fixed width. A reader checks every offset, count and index before it uses it.
 */
#ifndef HEAP_IMAGE_H
#define HEAP_IMAGE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "heap_frames.h"
#include "heap_mappings.h"
#include "heap_pools.h"
#include "heap_python.h"
#include "heap_sampling.h" /* HEAP_SAMPLE_MOST; what a recorded block counts for */
#include "heap_slots.h"
#include "heap_stacks.h"
#include "heap_threads.h"

#define HEAP_MAGIC 0x0A6D757370616568ull /* the bytes "heapsum\n" */
#define HEAP_VERSION 4u
/* The previous versions. Version 3 has no Python: its header ends before `python`. Version 2 has no sampling: its
 * header ends before `sample_interval`. The header of version 1 is shorter still (HEAP_HEADER_1_BYTES), and its stacks
 * are heap_stack_1 entries. */
#define HEAP_VERSION_3 3u
#define HEAP_VERSION_2 2u
#define HEAP_VERSION_1 1u
#define HEAP_BYTE_ORDER 0x01020304u
#define HEAP_PAGE_BYTES 4096u

enum heap_kind {
    HEAP_KIND_RUNNING = 1, /* sparse: the program writes it, or wrote it until it ended */
    HEAP_KIND_DUMP = 2,    /* dense: the state of a running program at one moment */
    /* dense: the state at the program's end; written by heaprun, or by `heapsum pack` from a finished image */
    HEAP_KIND_PACKED = 3,
};

enum heap_state {
    HEAP_STATE_RUNNING = 0, /* set by the interposer; stays so forever without a launcher */
    HEAP_STATE_EXITED = 1,  /* `exit_status` is valid */
    HEAP_STATE_KILLED = 2,  /* `exit_signal` is valid */
    HEAP_STATE_EXEC = 3,    /* the process went on to another program */
    HEAP_STATE_UNKNOWN = 4, /* ended; nobody saw how */
};

enum heap_flags {
    /* the process was forked: blocks inherited from the parent are not in this image */
    HEAP_FLAG_FORKED = 1u << 0,
    /* BLOCKS already holds the reallocations in flight; a reader ignores `heap_in_flight` */
    HEAP_FLAG_IN_FLIGHT_SETTLED = 1u << 1,
    HEAP_FLAG_SIGNAL_OF_PROGRAM = 1u << 2, /* the program has its own handler for the dump signal and keeps it */
    HEAP_FLAG_THREADS = 1u << 3,           /* each stack's root frame is its thread (HEAP_MODULE_THREAD) */
    HEAP_FLAG_FULL = 1u << 4,              /* `maximum_bytes` was reached, and recording of new blocks stopped */
    /* recording ended before the program did (a seccomp filter): later events are not in this image */
    HEAP_FLAG_STOPPED = 1u << 5,
    HEAP_FLAG_NAMES = 1u << 6, /* dense: has NAMES (`heapsum pack --with-symbols`) */
    /* the program set marks: they start at HEAP_MARKS_OFFSET, after the header */
    HEAP_FLAG_MARKS = 1u << 7,
    /* the program started another one in a sandbox where the library can't be found: that one is not recorded */
    HEAP_FLAG_UNREACHED = 1u << 8,
    HEAP_FLAG_BROKEN = 1u << 9,   /* HEAPSUM_CHECK: one of the recorder's own invariants is broken */
    HEAP_FLAG_VERDICT = 1u << 10, /* dense: has VERDICTS (`heapdump --leaks`, `heaprun --leaks`) */
    /* recording began in a program that was already running: earlier blocks are not in this image, and unmatched_frees
     * counts their frees */
    HEAP_FLAG_ATTACHED = 1u << 11,
    HEAP_FLAG_DETACHED = 1u << 12, /* recording was ended from outside; the program went on */
    HEAP_FLAG_TAGS = 1u << 14,     /* stacks may begin with a tag (HEAP_MODULE_TAG) */
    HEAP_FLAG_MAPPINGS = 1u << 15, /* mappings are booked: running images have RANGES, dense ones MAPPINGS */
    /* packed: has PAGES, the pages of live blocks that were in memory when the program ended (`heaprun --resident`) */
    HEAP_FLAG_PAGES = 1u << 16,
    /* tags also come from OpenTelemetry's thread context (`heaprun --otel-context`) … */
    HEAP_FLAG_OTEL_CONTEXT = 1u << 20,
    HEAP_FLAG_OTEL_VARIABLE = 1u << 21, /* … a module has the variable … */
    HEAP_FLAG_OTEL_KEYS = 1u << 22,     /* … a process context with the attributes' names was read … */
    HEAP_FLAG_OTEL_NAMED = 1u << 23,    /* … and it has the attribute */
};

enum heap_unwinder {
    HEAP_UNWINDER_NONE = 0, /* a stack is only the caller's address, or empty at depth 0 */
    HEAP_UNWINDER_LIBUNWIND = 1,
    HEAP_UNWINDER_OWN = 2,
    HEAP_UNWINDER_FP = 3,
};

/* ---- Sections ------------------------------------------------------------------------------------ */

enum heap_section_name {
    HEAP_SECTION_STRINGS = 0,  /* bytes; entry 0 is unused, so that offset 0 means "none" */
    HEAP_SECTION_MODULES = 1,  /* heap_module; entry 0 is unused */
    HEAP_SECTION_NODES = 2,    /* heap_node; entry 0 is the root of every stack */
    HEAP_SECTION_STACKS = 3,   /* heap_stack; entry 0 is unused, entry 1 is the empty stack */
    HEAP_SECTION_THREADS = 4,  /* heap_thread */
    HEAP_SECTION_EVENTS = 5,   /* heap_ring: thread i's ring is entry i */
    HEAP_SECTION_TIMELINE = 6, /* heap_sample, by time */
    HEAP_SECTION_PIECES = 7,   /* heap_piece: entry i describes piece i of SLOTS */
    HEAP_SECTION_SLOTS = 8,    /* pieces of HEAP_PIECE_BYTES; piece 0 is unused */
    HEAP_SECTION_BLOCKS = 9,   /* heap_block; dense images only */
    HEAP_SECTION_INDEX = 10,   /* recorder only: hash tables from a stack's hash to its node */
    HEAP_SECTION_TOPS = 11,    /* recorder only: the live map's top tables */
    HEAP_SECTION_DETAILS = 12, /* HEAP_DETAIL_BYTES each; stacks refer to them; entry 0 is unused */
    HEAP_SECTION_COUNT = 13,
    /* heap_name; only in dense images with HEAP_FLAG_NAMES. Other images have INDEX here, which no reader needs */
    HEAP_SECTION_NAMES = 10,
    /* heap_verdict; only in dense images with HEAP_FLAG_VERDICT. Other images have TOPS here, which no reader needs */
    HEAP_SECTION_VERDICTS = 11,
    /* heap_run; only in dense images with HEAP_FLAG_PAGES. Running images have SLOTS here */
    HEAP_SECTION_PAGES = 8,
    /* heap_range_node; only in running images with HEAP_FLAG_MAPPINGS. Dense images have BLOCKS here */
    HEAP_SECTION_RANGES = 9,
    /* heap_mapping; only in dense images with HEAP_FLAG_MAPPINGS. Running images have PIECES here */
    HEAP_SECTION_MAPPINGS = 7,
};

struct heap_section {
    uint64_t offset;      /* from the file's start, a multiple of 8 */
    uint64_t capacity;    /* bytes of the file set aside; in a dense image exactly used * entry_bytes */
    uint64_t used;        /* entries handed out; counts those that found no space, so may exceed what is ready */
    uint64_t ready_bytes; /* bytes from the start that have memory: no reader goes past them */
    uint32_t entry_bytes;
    uint32_t reserved;
};

/* ---- Pages in memory ----------------------------------------------------------------------------- */

/* Pages in memory that follow each other: whole pages, in order of address, and runs don't touch. */
struct heap_run {
    uint64_t start;
    uint64_t bytes;
};

/* ---- Names --------------------------------------------------------------------------------------- */

enum heap_name_flags {
    HEAP_NAME_SOURCE = 1u << 0,  /* the source is known, so the next bit is valid */
    HEAP_NAME_INLINED = 1u << 1, /* the compiler inlined this function into the next entry's */
    /* no name: several functions of a JIT compiler were at this address, and which of them was meant is not known */
    HEAP_NAME_REUSED = 1u << 2,
};

#define HEAP_NAME_NO_SYMBOL 0xFFFFFFFFFFFFFFFFull

/*
 * The name of a function at a frame. The entries of one frame follow one another: first the inlined functions,
 * innermost first, then the function that contains the return address. A frame that was looked up and has no name has
 * one entry without a function. A frame that could not be looked up has no entry.
 */
struct heap_name {
    uint64_t frame; /* as in heap_node */
    /* from the symbol's start to the return address; HEAP_NAME_NO_SYMBOL: the name is not from a symbol */
    uint64_t symbol_offset;
    struct heap_string function; /* demangled */
    struct heap_string symbol;   /* mangled, as the linker sees it */
    struct heap_string file;     /* the source */
    uint32_t line;               /* of the call, from 1; 0: not known */
    uint32_t flags;              /* enum heap_name_flags */
};

/* ---- Verdicts ------------------------------------------------------------------------------------ */

enum heap_verdict_kind {
    /* The blocks of one stack in BLOCKS that have the same verdict. All such entries together sum up to the live
     * blocks. */
    HEAP_VERDICT_UNKNOWN = 0, /* allocated after the verdict was made */
    HEAP_VERDICT_REACHABLE = 1,
    HEAP_VERDICT_POSSIBLE = 2,
    HEAP_VERDICT_DEFINITE = 3, /* `more_` counts the blocks that are indirectly lost through these */
    HEAP_VERDICT_INDIRECT = 4,
    /* A line of the tree of holders. Each line follows the line that holds it. A line is a root (`text` names it), or
     * all blocks of one stack that one line holds. `more_` is what would be freed with it, itself included. */
    HEAP_VERDICT_HOLDER = 5,
    /* What the verdict could not read: `text` says it. Without such an entry the verdict is complete. */
    HEAP_VERDICT_NOT_READ = 6,
    HEAP_VERDICT_NOTE = 7,  /* a remark that does not change the verdict: `text` */
    HEAP_VERDICT_PAUSE = 8, /* `blocks` is for how many nanoseconds the program was stopped */
};

#define HEAP_VERDICT_SEVERAL_ROOTS 1u /* `flags` of a holder: it is freed only if more than one root goes */

/* Before an exec, a program that heaprun traces sends itself a signal with this value: the bytes "leaving\n".
 */
#define HEAP_LEAVING_NOTICE 0x0A676E697661656Cull

/* A reader skips kinds that it does not know. */
struct heap_verdict {
    uint32_t kind;  /* enum heap_verdict_kind */
    uint32_t stack; /* 0: none; 1: the empty stack */
    uint64_t blocks, bytes;
    uint64_t more_blocks, more_bytes;
    uint64_t address; /* of the first block; 0: none */
    uint32_t depth;   /* of a holder: 0 for a root, else at most one more than the line before */
    uint32_t flags;
    struct heap_string text;
};

/* ---- Modules ------------------------------------------------------------------------------------- */

#define HEAP_BUILD_ID_BYTES 32

/* One loaded ELF file. If two threads met a file at once, two entries describe it: a reader merges them. */
struct heap_module {
    struct heap_string path;
    uint8_t build_id[HEAP_BUILD_ID_BYTES];
    uint32_t build_id_length; /* 0: the file has none */
    uint32_t flags;           /* enum heap_module_flags */
    /* load address less the ELF file's own; the latest one if the file was loaded again elsewhere */
    uint64_t bias;
    uint64_t start; /* covers the addresses [start, end) */
    uint64_t end;
    uint64_t loaded_ns;   /* since the recording's start: when it first appeared in a stack */
    uint64_t unloaded_ns; /* 0: not known to be unloaded */
    /* of the mapped file (stat), when the module first appeared; all zero: not known */
    uint64_t device, inode, file_bytes, modified_ns;
};

enum heap_module_flags {
    HEAP_MODULE_READY = 1u << 0,    /* all fields are written; without it the entry is incomplete */
    HEAP_MODULE_MOVED = 1u << 1,    /* seen with more than one bias: absolute addresses are not known */
    HEAP_MODULE_REPLACED = 1u << 2, /* the mapped file was already deleted or replaced at its path */
};

/* ---- Time series and losses ------------------------------------------------------------------------ */

#define HEAP_TIMELINE_SAMPLES 1024u
#define HEAP_TIMELINE_FIRST_INTERVAL_NS 10000000ull /* 10 ms; doubled each time the timeline is full */

/* A reader drops a sample whose time is not above the previous sample's: a halving was cut off. */
struct heap_sample {
    uint64_t time_ns; /* since the recording's start */
    uint64_t live_bytes;
    uint64_t live_blocks;
    uint64_t rss_bytes; /* 0: not measured (heaprun measures it, from outside) */
};

/* What could not be booked, or was booked incompletely. Each field counts events unless it says otherwise.
 */
struct heap_losses {
    uint64_t lost_allocations; /* not booked: no space in the image */
    uint64_t lost_bytes;       /* their requested bytes */
    uint64_t lost_stacks;      /* booked under the empty stack: no space for it, or a handler's amid attaching */
    uint64_t cut_stacks;       /* the stack is over the depth limit, or the unwinder gave up */
    uint64_t ringless_events; /* booked without a ring: more threads than rings, or in a signal handler inside a hook */
    uint64_t unmatched_frees; /* of blocks that were not booked */
    uint64_t inherited_frees; /* unmatched frees in a forked child: mostly of the parent's blocks */
    uint64_t healed_slots;    /* published over an occupied slot: the earlier block's free was not seen */
    uint64_t refused_modules; /* frames kept as absolute addresses: no space in MODULES */
    uint64_t failed_dumps;
    uint64_t failed_reservations; /* madvise calls that found no space */
    /* packed: records of live blocks that are missing because the source was cut off */
    uint64_t lost_records;
    uint64_t paused_allocations; /* not booked because the program had paused the recording; paused_bytes is what they
                                    requested */
    uint64_t paused_bytes;
    /* frees of blocks that were not booked, since the first pause: probably of paused allocations */
    uint64_t paused_frees;
    /* not booked: they happened before recording could start, or while another thread was starting it */
    uint64_t early_allocations;
    /* booked under the known outer part of their stack only: the image had `maximum_stacks` (HEAP_CUT_STACKS) */
    uint64_t limited_allocations;
    /* peaks, snapshots and lifetimes that found no space in DETAILS; such a peak or snapshot reads as 0 */
    uint64_t lost_details;
};

/*
 * The process's resident memory by kind of mapping, from /proc/PID/smaps. It is always measured from outside: heaprun
 * writes it into the running image from time to time, heapdump into its copy. The unit is the kernel's, 1,024 bytes. A
 * value too large for 32 bits is UINT32_MAX.
 */
struct heap_residence {
    uint64_t measured_ns;  /* since the recording's start; 0: not measured */
    uint32_t allocator_kb; /* malloc's: [heap], arenas, blocks that have their own mapping */
    uint32_t anonymous_kb; /* private, without a file, not malloc's */
    uint32_t stacks_kb;
    uint32_t files_kb;
    uint32_t shared_kb;  /* shared memory that is not a file on a disk */
    uint32_t image_kb;   /* this image */
    uint32_t swapped_kb; /* in addition to all these */
    uint32_t reserved;
};

/* ---- Marks --------------------------------------------------------------------------------------- */

/*
 * Moments that the program named (heapsum.h). Number n, from 1, lies in entry (n - 1) % HEAP_MARK_COUNT, so the newest
 * are kept. They lie after the header, in the same page, in images of every kind.
 */
#define HEAP_MARKS_OFFSET 1024u
#define HEAP_MARK_COUNT 48u
#define HEAP_MARK_NAME_BYTES 40u

struct heap_mark {
    /* stored last, and 0 while the entry is written: a reader skips an entry that doesn't hold its own number */
    uint64_t number;
    uint64_t time_ns; /* since the recording's start */
    uint32_t tick;    /* blocks allocated from here on have this tick or a later one */
    uint32_t tid;
    char name[HEAP_MARK_NAME_BYTES]; /* cut if longer; padded with NUL bytes */
};

/* ---- The header ---------------------------------------------------------------------------------- */

struct heap_header {
    uint64_t magic;
    uint32_t version;
    uint32_t byte_order;
    uint32_t header_bytes;
    uint32_t kind;  /* enum heap_kind */
    uint32_t flags; /* enum heap_flags */
    uint32_t state; /* enum heap_state */
    uint32_t exit_status;
    uint32_t exit_signal;

    /* The process. */
    uint32_t pid; /* in the program's own PID namespace */
    uint32_t parent_pid;
    uint64_t start_time;           /* of the process: clock ticks since boot, field 22 of /proc/PID/stat */
    uint8_t boot_id[16];           /* all zero: not known */
    uint64_t started_realtime_ns;  /* the recording's start, CLOCK_REALTIME … */
    uint64_t started_monotonic_ns; /* … and CLOCK_MONOTONIC: ticks and `_ns` fields count from here */
    uint64_t began_ns;             /* dense: when writing it began and ended */
    uint64_t ended_ns;
    struct heap_string program;   /* the executable's path */
    struct heap_string arguments; /* separated by NUL */
    struct heap_string allocator; /* path of the module whose malloc is next in line */
    struct heap_string output;    /* the directory for dumps */
    struct heap_string name;      /* the image's file name, without directory: dumps add their number to it */

    /* How it was recorded. */
    uint32_t depth;         /* at most this many frames of a stack are kept */
    uint32_t unwinder;      /* enum heap_unwinder */
    uint32_t dump_signal;   /* 0: none */
    uint32_t dumps;         /* written so far */
    uint64_t maximum_bytes; /* of the image and its dumps; 0: no limit */
    uint8_t granule_log2[HEAP_MAP_COUNT];
    uint8_t recorder[3]; /* heapsum's version that recorded it: major, minor, patch; all 0: not known */
    uint32_t generation; /* of the module map: incremented when a module is unloaded */
    uint32_t marks;      /* set so far; the newest HEAP_MARK_COUNT are kept */

    /* The current state, as folded. The peak's error is what other threads' rings held at that moment. */
    uint64_t live_bytes;
    uint64_t live_blocks;
    uint64_t peak_bytes;
    uint64_t peak_blocks;
    uint64_t peak_ns;
    uint64_t peak_error_bytes;
    uint32_t peak_epoch; /* incremented at each new peak */
    uint32_t snapshots;  /* taken so far, at most HEAP_SNAPSHOT_COUNT */
    uint64_t timeline_interval_ns;
    uint64_t timeline_due_ns;
    uint64_t rss_bytes; /* heaprun's last measurement, from outside */
    uint64_t rss_peak_bytes;
    uint64_t verified_stacks;  /* compared with libunwind (HEAPSUM_VERIFY) … */
    uint32_t differing_stacks; /* … and found to have another return address … */
    uint32_t shorter_stacks;   /* … or the same ones, and to be cut where libunwind goes on */
    struct heap_residence residence;

    struct heap_losses losses;
    struct heap_section sections[HEAP_SECTION_COUNT];
    uint64_t maximum_stacks; /* beyond this many, a new stack is booked under its known outer part; 0: no limit */
    uint64_t gone_stacks;    /* packed: stacks folded into the row of HEAP_CUT_GONE */
    /* mean bytes between two sampled ones (heap_sampling.h), at most HEAP_SAMPLE_MOST; 0: every block was booked */
    uint64_t sample_interval;
    /* Py_Version of the CPython whose frames were looked for (its lowest bit is set; 1: before 3.11); 0: none */
    uint32_t python;
    uint32_t unmixed_stacks; /* allocations whose Python frames could not be read, or don't fit the C frames */
};

/* A header of version 3, and one of version 2, are the same up to here. */
#define HEAP_HEADER_3_BYTES 1016u
#define HEAP_HEADER_2_BYTES 1008u
/* How a header of version 1 differs: it has fewer losses and sections, and ends after them. Up to its losses it is as
 * above. */
#define HEAP_HEADER_1_BYTES 936u
#define HEAP_LOSSES_1_BYTES 128u
#define HEAP_SECTIONS_1_OFFSET 456u
#define HEAP_SECTIONS_1_COUNT 12u

static_assert(sizeof(struct heap_section) == 40, "section");
static_assert(
    sizeof(struct heap_run) == sizeof(struct heap_piece), "PAGES and PIECES share their section's entry size");
static_assert(offsetof(struct heap_module, bias) == 48, "module");
static_assert(sizeof(struct heap_module) == 120, "module");
static_assert(sizeof(struct heap_name) == 48, "name");
static_assert(sizeof(struct heap_verdict) == 64, "verdict");
static_assert(sizeof(struct heap_sample) == 32, "sample");
static_assert(sizeof(struct heap_losses) == 144, "losses");
static_assert(sizeof(struct heap_residence) == 40, "residence");
static_assert(offsetof(struct heap_header, pid) == 40, "header");
static_assert(offsetof(struct heap_header, program) == 104, "header");
static_assert(offsetof(struct heap_header, depth) == 144, "header");
static_assert(offsetof(struct heap_header, live_bytes) == 184, "header");
static_assert(offsetof(struct heap_header, peak_epoch) == 232, "header");
static_assert(offsetof(struct heap_header, residence) == 288, "header: heaprun writes it in place");
static_assert(offsetof(struct heap_header, losses) == 328, "header");
static_assert(offsetof(struct heap_header, sections) == 472, "header");
static_assert(offsetof(struct heap_header, sample_interval) == HEAP_HEADER_2_BYTES, "header of version 2");
static_assert(offsetof(struct heap_header, python) == HEAP_HEADER_3_BYTES, "header of version 3");
static_assert(sizeof(struct heap_header) == 1024, "header");
static_assert(
    HEAP_SECTIONS_1_OFFSET == offsetof(struct heap_header, losses) + HEAP_LOSSES_1_BYTES, "header of version 1");
static_assert(HEAP_HEADER_1_BYTES == HEAP_SECTIONS_1_OFFSET + HEAP_SECTIONS_1_COUNT * sizeof(struct heap_section),
    "header of version 1");
static_assert(sizeof(struct heap_mark) == 64, "mark");
static_assert(HEAP_MARKS_OFFSET >= sizeof(struct heap_header), "marks lie behind the header");
static_assert(
    HEAP_MARKS_OFFSET + HEAP_MARK_COUNT * sizeof(struct heap_mark) == HEAP_PAGE_BYTES, "marks lie in its page");

#endif
