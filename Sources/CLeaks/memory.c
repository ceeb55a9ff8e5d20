/*
 * Which pages of another process are present. Pages that were never touched are not read: reading would make the kernel
 * add them to the page table.
 */
#include "leaks.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As in linux/fs.h since 6.7; older headers don't have it. */
struct page_region {
    uint64_t start, end, categories;
};
struct pm_scan_arg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_CALL _IOWR('f', 16, struct pm_scan_arg)
#define CATEGORY_FILE 4ull
#define CATEGORY_PRESENT 8ull
#define CATEGORY_SWAPPED 16ull
#define CATEGORY_ZERO 32ull

static size_t append(struct leaks_pages *runs, size_t count, uint64_t start, uint64_t end) {
    if (count > 0 && runs[count - 1].end == start) {
        runs[count - 1].end = end;
        return count;
    }
    runs[count] = (struct leaks_pages){start, end};
    return count + 1;
}

/* Before Linux 6.7: pagemap has a word for each page, present or not. */
static ssize_t resident_by_words(
    int pagemap, uint64_t start, uint64_t end, enum leaks_page_kind kind, struct leaks_pages *runs, size_t capacity) {
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t words[512];
    size_t count = 0;
    for (uint64_t at = start; at < end;) {
        size_t wanted = (end - at) / page < 512 ? (size_t)((end - at) / page) : 512;
        ssize_t got = pread(pagemap, words, wanted * 8, (off_t)(at / page * 8));
        if (got <= 0) return got < 0 ? -errno : (ssize_t)count;
        for (size_t i = 0; i < (size_t)got / 8; i++, at += page) {
            if ((words[i] >> 62) == 0 || (kind == LEAKS_PAGES_PRIVATE && (words[i] >> 61 & 1) != 0)) continue;
            if (count == capacity && runs[count - 1].end != at) return (ssize_t)count;
            count = append(runs, count, at, at + page);
        }
    }
    return (ssize_t)count;
}

ssize_t leaks_resident(
    int pagemap, uint64_t start, uint64_t end, enum leaks_page_kind kind, struct leaks_pages *runs, size_t capacity) {
    if (capacity == 0 || start >= end) return 0;
    struct page_region regions[256];
    size_t count = 0;
    for (uint64_t at = start; at < end;) {
        struct pm_scan_arg scan = {
            .size = sizeof scan, .start = at, .end = end, .vec = (uint64_t)(uintptr_t)regions, .vec_len = 256};
        scan.category_anyof_mask = CATEGORY_PRESENT | CATEGORY_SWAPPED;
        if (kind == LEAKS_PAGES_PRIVATE) scan.category_mask = scan.category_inverted = CATEGORY_FILE | CATEGORY_ZERO;
        int found = ioctl(pagemap, PAGEMAP_SCAN_CALL, &scan);
        if (found < 0) return at == start ? resident_by_words(pagemap, start, end, kind, runs, capacity) : -errno;
        for (int i = 0; i < found; i++) {
            if (count == capacity && runs[count - 1].end != regions[i].start) return (ssize_t)count;
            count = append(runs, count, regions[i].start, regions[i].end);
        }
        if (scan.walk_end <= at) break;
        at = scan.walk_end;
    }
    return (ssize_t)count;
}
