/*
 * Creates the image: its layout, its file, its header. The file is sparse and mapped once as a whole. No descriptor
 * stays open.
 */
#include "image/create.h"

#include <limits.h>
#include <string.h>

#include "base/atomics.h"
#include "base/options.h"
#include "base/system.h"
#include "image/identity.h"
#include "image/image.h"
#include "image/narrow.h"
#include "include/version.h"

/* The layout of the current image. Static, because it is too large for a small stack. */
static struct heap_header plan;

/* Layouts to try, each half of the one before: on a machine with 24 GB from 16.3 GB down to 68.5 MB. */
#define SHRINKS 9
/* Valgrind records for each mapped byte that it may be read: for gigabytes that takes seconds. */
#define SHRINKS_FOR_VALGRIND 6
#define THREADS_MOST 32768u
#define MODULES_MOST 0xFFFDu
_Static_assert(MODULES_MOST <= HEAP_MODULE_TAG, "a module's number is below those that stand for none");

static uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

/* Lays the sections out after the header. The sizes that scale are halved `shrink` times. Returns the file's size. */
static uint64_t lay_out(struct heap_header *header, unsigned shrink) {
    uint64_t memory = system_memory_bytes(4ull << 30);
    /* The fine map takes at most a quarter of the heap. Twice that leaves room for blocks that lie far apart. */
    uint64_t slots = round_up(memory / 2 + (256ull << 20), HEAP_PIECE_BYTES) >> shrink;
    uint64_t tops = 0;
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++)
        tops += round_up(image_top_entries(map, header->granule_log2) * sizeof(uint32_t), HEAP_PAGE_BYTES);
    const struct {
        uint32_t entry;
        uint64_t bytes;
    } plan[HEAP_SECTION_COUNT] = {
        [HEAP_SECTION_STRINGS] = {1, (16ull << 20) >> shrink},
        [HEAP_SECTION_MODULES] = {sizeof(struct heap_module),
            (uint64_t)(MODULES_MOST >> shrink) * sizeof(struct heap_module)},
        [HEAP_SECTION_NODES] = {sizeof(struct heap_node), (512ull << 20) >> shrink},
        [HEAP_SECTION_STACKS] = {sizeof(struct heap_stack), (1024ull << 20) >> shrink},
        [HEAP_SECTION_THREADS] = {sizeof(struct heap_thread), (THREADS_MOST >> shrink) * sizeof(struct heap_thread)},
        [HEAP_SECTION_EVENTS] = {sizeof(struct heap_ring),
            (uint64_t)(THREADS_MOST >> shrink) * sizeof(struct heap_ring)},
        [HEAP_SECTION_TIMELINE] = {sizeof(struct heap_sample), HEAP_TIMELINE_SAMPLES * sizeof(struct heap_sample)},
        [HEAP_SECTION_PIECES] = {sizeof(struct heap_piece), slots / HEAP_PIECE_BYTES * sizeof(struct heap_piece)},
        [HEAP_SECTION_SLOTS] = {HEAP_PIECE_BYTES, slots},
        /* A node serves 2 MB of which not all belongs to one mapping. */
        [HEAP_SECTION_RANGES] = {sizeof(struct heap_range_node), options.mappings ? (256ull << 20) >> shrink : 0},
        [HEAP_SECTION_INDEX] = {sizeof(uint32_t), TREE_INDEX_BYTES_OF(TREE_INDEX_TABLES - shrink)},
        [HEAP_SECTION_TOPS] = {sizeof(uint32_t), tops},
        [HEAP_SECTION_DETAILS] = {HEAP_DETAIL_BYTES, (1024ull << 20) >> shrink},
    };
    uint64_t at = HEAP_PAGE_BYTES;
    for (int i = 0; i < HEAP_SECTION_COUNT; i++) {
        uint64_t capacity = plan[i].bytes / plan[i].entry * plan[i].entry;
        header->sections[i] = (struct heap_section){.offset = at, .capacity = capacity, .entry_bytes = plan[i].entry};
        at = round_up(at + capacity, HEAP_PAGE_BYTES);
    }
    return at;
}

static void set_sections(void) {
    struct heap_section *sections = image.header->sections;
    image.strings = image.base + sections[HEAP_SECTION_STRINGS].offset;
    image.modules = (struct heap_module *)(image.base + sections[HEAP_SECTION_MODULES].offset);
    image.nodes = (struct heap_node *)(image.base + sections[HEAP_SECTION_NODES].offset);
    image.stacks = (struct heap_stack *)(image.base + sections[HEAP_SECTION_STACKS].offset);
    image.details = (struct heap_detail *)(image.base + sections[HEAP_SECTION_DETAILS].offset);
    image.threads = (struct heap_thread *)(image.base + sections[HEAP_SECTION_THREADS].offset);
    image.rings = (struct heap_ring *)(image.base + sections[HEAP_SECTION_EVENTS].offset);
    image.timeline = (struct heap_sample *)(image.base + sections[HEAP_SECTION_TIMELINE].offset);
    image.pieces = (struct heap_piece *)(image.base + sections[HEAP_SECTION_PIECES].offset);
    image.slots = image.base + sections[HEAP_SECTION_SLOTS].offset;
    image.index = (uint32_t *)(image.base + sections[HEAP_SECTION_INDEX].offset);
    image.tops = (uint32_t *)(image.base + sections[HEAP_SECTION_TOPS].offset);
    image.ranges = (struct heap_range_node *)(image.base + sections[HEAP_SECTION_RANGES].offset);
}

/* Maps `fd` with the largest layout that the file system and the process's limits allow. */
static bool map_file(int fd) {
    struct rlimit space, file;
    uint64_t most = INT64_MAX / 4;
    /* A program with an address space limit plans with it: take at most an eighth, or half if not even the smallest
     * layout fits in that. */
    if (system_limit(RLIMIT_AS, &space) && space.rlim_cur != RLIM_INFINITY) most = space.rlim_cur / 8;
    uint64_t most_file =
        system_limit(RLIMIT_FSIZE, &file) && file.rlim_cur != RLIM_INFINITY ? file.rlim_cur : INT64_MAX;
    for (unsigned shrink = running_on_valgrind() ? SHRINKS_FOR_VALGRIND : 0; shrink < SHRINKS; shrink++) {
        uint64_t bytes = lay_out(&plan, shrink);
        if (bytes > most_file || bytes > (shrink == SHRINKS - 1 ? most * 4 : most) || system_truncate(fd, bytes) != 0)
            continue;
        void *base = system_map(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd);
        if (base == NULL) continue;
        /* RANDOM: without it the kernel reads ahead around every store (25 stores read in 200 MB on ext4, measured). */
        system_advise(base, bytes, MADV_RANDOM);
        system_advise(base, bytes, MADV_DONTDUMP);
        system_advise(base, bytes, MADV_DONTFORK);
        image.base = base;
        image.bytes = bytes;
        image.header = base;
        image.narrowed = 0;
        return true;
    }
    return false;
}

/* From --max-stacks; else one for each 4 KB of memory, so that stacks and their nodes take 2 to 3 % of it. */
static uint64_t maximum_stacks(void) {
    if (options.maximum_stacks != OPTIONS_STACKS_BY_MEMORY) return options.maximum_stacks;
    uint64_t stacks = system_memory_bytes(4ull << 30) / 4096;
    return stacks < OPTIONS_STACKS_LEAST ? OPTIONS_STACKS_LEAST : stacks;
}

/* Writes everything that a reader relies on, the magic last. */
static bool fill_in(const char *name) {
    struct heap_header *header = image.header;
    if (image_populate(image.base, HEAP_PAGE_BYTES) != 0) return false;
    memcpy(header->sections, plan.sections, sizeof plan.sections);
    memcpy(header->granule_log2, plan.granule_log2, sizeof header->granule_log2);
    memcpy(header->recorder, (uint8_t[]){HEAPSUM_VERSION_MAJOR, HEAPSUM_VERSION_MINOR, HEAPSUM_VERSION_PATCH},
        sizeof header->recorder);
    header->header_bytes = sizeof *header;
    header->version = HEAP_VERSION;
    header->byte_order = HEAP_BYTE_ORDER;
    header->kind = HEAP_KIND_RUNNING;
    header->depth = options.depth;
    header->maximum_bytes = options.maximum_bytes;
    header->maximum_stacks = maximum_stacks();
    header->sample_interval = options.sample;
    header->dump_signal = (uint32_t)options.signal;
    header->flags = options.threads ? HEAP_FLAG_THREADS : 0;
    header->timeline_interval_ns = HEAP_TIMELINE_FIRST_INTERVAL_NS;
    identity_fill(header);
    set_sections();
    /* The entries 0 that name nothing, and the empty stack. */
    if (image_take(HEAP_SECTION_STRINGS, 1) < 0 || image_take(HEAP_SECTION_MODULES, 1) < 0
        || image_take(HEAP_SECTION_NODES, 1) < 0 || image_take(HEAP_SECTION_STACKS, 2) < 0
        || image_take(HEAP_SECTION_SLOTS, 1) < 0 || image_take(HEAP_SECTION_DETAILS, 1) < 0
        || !image_cover(HEAP_SECTION_PIECES, 1))
        return false;
    /* The sums, and the roots. Without space for them no mapping is booked. */
    if (options.mappings) (void)image_take(HEAP_SECTION_RANGES, HEAP_RANGE_POOL_NAMES + 1);
    identity_strings(header);
    header->output = image_string(options.output, strlen(options.output));
    header->name = image_string(name, strlen(name));
    image.nodes[0].stack = 1;
    store_release(&header->magic, HEAP_MAGIC); /* partner: any reader from outside */
    return true;
}

void image_forget(void) {
    struct image_part parts[IMAGE_PARTS_MOST];
    unsigned count = image.base == NULL ? 0 : image_parts(parts);
    for (unsigned i = 0; i < count; i++) system_unmap(parts[i].start, parts[i].bytes);
    memset(&image, 0, sizeof image);
}

/* Makes the image in one directory, under the first name that is free. */
static bool create_in(const char *directory) {
    /* Static: one image is made at a time, and a forked child may make its own on a stack of a few kilobytes. */
    static char path[PATH_MAX], name[NAME_MAX];
    for (unsigned number = 1; number < 10000; number++) {
        if (!identity_name(name, sizeof name, number)) return false;
        size_t length = strlen(directory);
        if (length + 1 + strlen(name) >= sizeof path) return false;
        memcpy(path, directory, length);
        path[length] = '/';
        memcpy(path + length + 1, name, strlen(name) + 1);
        int fd = system_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd == -EEXIST) continue;
        if (fd < 0) return false;
        bool made = map_file(fd) && fill_in(name);
        system_close(fd);
        if (!made) {
            system_unlink(path);
            image_forget();
        }
        return made;
    }
    return false;
}

static bool create_in_memory(void) {
    char name[NAME_MAX];
    if (!identity_name(name, sizeof name, 1)) return false;
    int fd = system_memory_file("heapsum");
    if (fd < 0) return false;
    bool made = map_file(fd) && fill_in(name);
    system_close(fd);
    if (!made) image_forget();
    return made;
}

bool image_create(void) {
    memset(&plan, 0, sizeof plan);
    identity_granules(plan.granule_log2);
    image_space_start();
    bool made = (options.run_dir[0] != '\0' && create_in(options.run_dir))
        || (options.output[0] != '\0' && create_in(options.output));
    if (!made) {
        message("no image could be made in ", options.output[0] != '\0' ? options.output : "the output directory");
        made = create_in("/dev/shm") || create_in_memory();
    }
    if (!made && options.maximum_bytes != 0 && options.maximum_bytes < 1 << 20)
        message("HEAPSUM_MAX_SIZE is too small for an image; 1M holds a small program's", "");
    if (!made) message("no image could be made at all: nothing is recorded of ", options.program);
    return made;
}

void image_abandon(void) {
    /* A narrowed image's hole stays: the child's address space is limited, too. */
    if (image.base == NULL || load_relaxed(&image.narrowed)) return;
    /* MADV_DONTFORK left a hole. This code runs first in the child, so no other mapping has taken it yet. If this
     * fails, the hole stays, and only a hook that the fork interrupted could touch it. */
    void *scratch = system_map(image.base, image.bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1);
    /* A debugger that writes a core file would write all of it. */
    if (scratch != NULL) system_advise(scratch, image.bytes, MADV_DONTDUMP);
    if (scratch == image.base) memcpy(image.header->sections, plan.sections, sizeof plan.sections);
    else if (scratch != NULL) system_unmap(scratch, image.bytes);
}
