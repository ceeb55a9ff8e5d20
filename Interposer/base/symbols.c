/*
 * Looking a name up as the loader does: in the GNU hash table with its Bloom filter, or in the older hash table.
 */
#include "base/symbols.h"

#include <string.h>

#include "base/atomics.h"
#include "base/system.h"

/* ---- Memory that may go ------------------------------------------------------------------------------ */

/*
 * Tests a word with rt_sigprocmask and an invalid `how`: the kernel reads the set of signals before it refuses the
 * request, and reports EFAULT if it can't. Valgrind prints a line about such a request, so under Valgrind the word is
 * fetched instead.
 */
bool memory_is_readable(uintptr_t word) {
    if (word < 4096) return false;
    if (!system_may_look()) return true;
    if (unlikely(running_on_valgrind())) {
        uint8_t byte;
        struct iovec here = {&byte, 1}, there = {(void *)word, 1};
        long got = SYSTEM_CALL6(SYS_process_vm_readv, system_thread(), &here, 1, &there, 1, 0);
        return got == 1 || got == -EPERM || got == -ENOSYS;
    }
    return SYSTEM_CALL4(SYS_rt_sigprocmask, ~0, word, NULL, sizeof(system_signals)) != -EFAULT;
}

bool memory_looked_at(struct memory_looks *looks, uintptr_t address) {
    uintptr_t page = address & ~(uintptr_t)4095;
    for (size_t i = 0; i < LOOKS; i++)
        if (looks->pages[i] == page && page != 0) return true;
    if (!memory_is_readable(address & ~(uintptr_t)7)) return false;
    looks->pages[looks->next++ % LOOKS] = page;
    return true;
}

bool memory_string_length(const char *string, size_t most, size_t *length) {
    struct memory_looks looks = {0};
    for (*length = 0; *length < most; ++*length) {
        uintptr_t at = (uintptr_t)string + *length;
        if ((*length == 0 || at % 4096 == 0) && !memory_looked_at(&looks, at)) return false;
        if (*(const volatile char *)at == '\0') return true;
    }
    return false;
}

bool memory_fetch(void *to, uintptr_t from, size_t bytes) {
    static uint32_t refused;  /* a container's seccomp filter may refuse the call */
    if (!system_may_look()) { /* a look would end the program; the memory is most likely there */
        memcpy(to, (const void *)from, bytes);
        return true;
    }
    if (!load_relaxed(&refused)) {
        /* by the thread's number: the process's is of its first thread, whose memory is gone once that has ended */
        struct iovec here = {to, bytes}, there = {(void *)from, bytes};
        long got = SYSTEM_CALL6(SYS_process_vm_readv, system_thread(), &here, 1, &there, 1, 0);
        if (got == (long)bytes) return true;
        if (got != -EPERM && got != -ENOSYS) return false;
        store_relaxed(&refused, 1);
    }
    /* Test first, then read. This can't see a page that is unmapped in the nanoseconds in between. */
    for (uintptr_t word = from & ~(uintptr_t)7; word < from + bytes; word += 8)
        if ((word == (from & ~(uintptr_t)7) || word % 4096 == 0) && !memory_is_readable(word)) return false;
    memcpy(to, (const void *)from, bytes);
    return true;
}

bool memory_fetch_string(char *to, uintptr_t from, size_t room) {
    for (size_t at = 0; at < room;) {
        /* Up to the end of 64 bytes, which never cross a page. */
        size_t bytes = 64 - (from + at) % 64;
        if (bytes > room - at) bytes = room - at;
        if (!memory_fetch(to + at, from + at, bytes)) return false;
        if (memchr(to + at, '\0', bytes) != NULL) return true;
        at += bytes;
    }
    to[room - 1] = '\0';
    return true;
}

static bool fetch(const struct symbols *symbols, void *to, uintptr_t from, size_t bytes) {
    if (symbols->may_go) return memory_fetch(to, from, bytes);
    memcpy(to, (const void *)from, bytes);
    return true;
}

/* ---- A module's tables ------------------------------------------------------------------------------- */

/*
 * glibc has already added the bias to the addresses in a module's dynamic section. musl has not, nor has glibc in the
 * vDSO. The tables are in the same module as the section, so the address nearer to the section is the right one.
 */
static uintptr_t address_in(uintptr_t value, uintptr_t bias, uintptr_t dynamic) {
    uintptr_t as_it_is = value > dynamic ? value - dynamic : dynamic - value;
    uintptr_t moved = value + bias > dynamic ? value + bias - dynamic : dynamic - (value + bias);
    return moved < as_it_is ? value + bias : value;
}

#define DYNAMIC_MOST 512 /* entries of a dynamic section that are examined */
#define DYNAMIC_CHUNK 16 /* entries read at once */

/* Notes one entry; false at the end of the section. */
static bool take_entry(struct symbols *symbols, const ElfW(Dyn) * entry, uintptr_t *soname) {
    uintptr_t address = address_in(entry->d_un.d_ptr, symbols->bias, symbols->dynamic);
    switch (entry->d_tag) {
        case DT_NULL: return false;
        case DT_SYMTAB: symbols->table = address; break;
        case DT_STRTAB: symbols->names = address; break;
        case DT_GNU_HASH: symbols->gnu_hash = address; break;
        case DT_HASH: symbols->hash = address; break;
        case DT_VERSYM: symbols->versions = address; break;
        case DT_SONAME: *soname = entry->d_un.d_val; break;
        case DT_RELA: symbols->relocations = address; break;
        case DT_RELASZ: symbols->relocations_bytes = entry->d_un.d_val; break;
        case DT_JMPREL: symbols->call_relocations = address; break;
        case DT_PLTRELSZ: symbols->call_relocations_bytes = entry->d_un.d_val; break;
        default: break;
    }
    return true;
}

bool symbols_read(uintptr_t dynamic, uintptr_t bias, bool may_go, struct symbols *symbols) {
    *symbols = (struct symbols){.bias = bias, .dynamic = dynamic, .may_go = may_go};
    uintptr_t soname = 0;
    ElfW(Dyn) entries[DYNAMIC_CHUNK];
    for (size_t i = 0; i < DYNAMIC_MOST && dynamic != 0; i += DYNAMIC_CHUNK) {
        /* If the mapping ends with the section, a whole chunk can't be read: read entry by entry then. */
        bool is_whole = fetch(symbols, entries, dynamic + i * sizeof entries[0], may_go ? sizeof entries : 0) && may_go;
        for (size_t k = 0; k < DYNAMIC_CHUNK; k++) {
            if (!is_whole && !fetch(symbols, &entries[k], dynamic + (i + k) * sizeof entries[0], sizeof entries[0]))
                return false;
            if (take_entry(symbols, &entries[k], &soname)) continue;
            if (soname != 0 && symbols->names != 0) symbols->soname = symbols->names + soname;
            return true;
        }
    }
    return false;
}

bool symbols_needed(const struct symbols *symbols, size_t index, char *name, size_t room) {
    for (size_t i = 0; i < DYNAMIC_MOST && symbols->names != 0; i++) {
        ElfW(Dyn) entry;
        if (!fetch(symbols, &entry, symbols->dynamic + i * sizeof entry, sizeof entry) || entry.d_tag == DT_NULL)
            return false;
        if (entry.d_tag == DT_NEEDED && index-- == 0)
            return memory_fetch_string(name, symbols->names + entry.d_un.d_val, room);
    }
    return false;
}

bool symbols_soname(const struct symbols *symbols, char *name, size_t room) {
    return symbols->soname != 0 && memory_fetch_string(name, symbols->soname, room);
}

/* ---- Looking up -------------------------------------------------------------------------------------- */

struct wanted {
    const char *name;
    enum symbol_type type;
};

#define VERSION_HIDDEN 0x8000 /* not the default one of its name */
#define NAME_BYTES 64         /* every name that we look up is shorter */

static bool is_named(const struct symbols *symbols, const ElfW(Sym) * symbol, const char *name) {
    char own[NAME_BYTES];
    size_t length = strlen(name);
    return length < sizeof own && fetch(symbols, own, symbols->names + symbol->st_name, length + 1)
        && memcmp(own, name, length + 1) == 0;
}

/* Whether a symbol's type is the one asked for. Code written in assembly may have none. */
static bool is_of_type(const ElfW(Sym) * symbol, enum symbol_type wanted) {
    uint32_t type = ELF64_ST_TYPE(symbol->st_info);
    if (wanted == SYMBOL_THREAD_VARIABLE || type == STT_TLS) return wanted == SYMBOL_THREAD_VARIABLE && type == STT_TLS;
    return type == STT_NOTYPE
        || (wanted == SYMBOL_VARIABLE ? type == STT_OBJECT : type == STT_FUNC || type == STT_GNU_IFUNC);
}

/* Whether entry `number` of the table defines the name. *is_default: in its default version. */
static bool defines(
    const struct symbols *symbols, uint32_t number, const struct wanted *wanted, ElfW(Sym) * symbol, bool *is_default) {
    if (!fetch(symbols, symbol, symbols->table + number * sizeof *symbol, sizeof *symbol)) return false;
    if (symbol->st_shndx == SHN_UNDEF || ELF64_ST_BIND(symbol->st_info) == STB_LOCAL) return false;
    if (symbol->st_value == 0 && wanted->type != SYMBOL_THREAD_VARIABLE) return false;
    if (!is_of_type(symbol, wanted->type) || !is_named(symbols, symbol, wanted->name)) return false;
    uint16_t version = 0;
    *is_default = symbols->versions == 0
        || !fetch(symbols, &version, symbols->versions + number * sizeof version, sizeof version)
        || !(version & VERSION_HIDDEN);
    return wanted->type != SYMBOL_OLD_FUNCTION || !*is_default;
}

static uintptr_t value_of(const struct symbols *symbols, const ElfW(Sym) * symbol) {
    if (ELF64_ST_TYPE(symbol->st_info) == STT_TLS) return symbol->st_value + 1;
    uintptr_t address = symbols->bias + symbol->st_value;
    /* An IFUNC: its resolver returns the address. The module is relocated, so the resolver has been called before. */
    return ELF64_ST_TYPE(symbol->st_info) == STT_GNU_IFUNC ? ((uintptr_t(*)(void))address)() : address;
}

static uint32_t gnu_hash_of(const char *name) {
    uint32_t hash = 5381;
    for (; *name != '\0'; name++) hash = hash * 33 + (uint8_t)*name;
    return hash;
}

struct gnu_hash_header {
    uint32_t bucket_count, first, words, shift;
};

static uintptr_t find_by_gnu_hash(const struct symbols *symbols, const struct wanted *wanted) {
    struct gnu_hash_header header;
    if (!fetch(symbols, &header, symbols->gnu_hash, sizeof header) || header.bucket_count == 0 || header.words == 0)
        return 0;
    const uintptr_t filter = symbols->gnu_hash + sizeof header, buckets = filter + header.words * sizeof(ElfW(Addr));
    const uintptr_t chain = buckets + header.bucket_count * sizeof(uint32_t);
    const uint32_t hash = gnu_hash_of(wanted->name), bits = 8 * sizeof(ElfW(Addr));
    ElfW(Addr) word;
    if (!fetch(symbols, &word, filter + hash / bits % header.words * sizeof word, sizeof word)) return 0;
    if (!(word >> hash % bits & word >> (hash >> header.shift) % bits & 1)) return 0;
    uint32_t number, entry = 0;
    if (!fetch(symbols, &number, buckets + hash % header.bucket_count * sizeof number, sizeof number)
        || number < header.first)
        return 0;
    uintptr_t other = 0;
    for (; !(entry & 1); number++) { /* the bucket's last entry has the bit set */
        ElfW(Sym) symbol;
        bool is_default;
        if (!fetch(symbols, &entry, chain + (number - header.first) * sizeof entry, sizeof entry)) return 0;
        if ((entry | 1) != (hash | 1) || !defines(symbols, number, wanted, &symbol, &is_default)) continue;
        if (is_default) return value_of(symbols, &symbol);
        other = value_of(symbols, &symbol);
    }
    return other;
}

static uint32_t hash_of(const char *name) {
    uint32_t hash = 0;
    for (; *name != '\0'; name++) {
        hash = (hash << 4) + (uint8_t)*name;
        hash = (hash ^ (hash >> 24 & 0xF0)) & 0x0FFFFFFF;
    }
    return hash;
}

struct hash_header {
    uint32_t bucket_count, count;
};

static uintptr_t find_by_hash(const struct symbols *symbols, const struct wanted *wanted) {
    struct hash_header header;
    if (!fetch(symbols, &header, symbols->hash, sizeof header) || header.bucket_count == 0) return 0;
    const uintptr_t buckets = symbols->hash + sizeof header, chain = buckets + header.bucket_count * sizeof(uint32_t);
    uintptr_t other = 0;
    uint32_t number, steps = 0;
    if (!fetch(symbols, &number, buckets + hash_of(wanted->name) % header.bucket_count * sizeof number, sizeof number))
        return 0;
    while (number != STN_UNDEF && steps++ < header.count) {
        ElfW(Sym) symbol;
        bool is_default;
        if (defines(symbols, number, wanted, &symbol, &is_default)) {
            if (is_default) return value_of(symbols, &symbol);
            other = value_of(symbols, &symbol);
        }
        if (!fetch(symbols, &number, chain + number * sizeof number, sizeof number)) return 0;
    }
    return other;
}

uintptr_t symbols_find(const struct symbols *symbols, const char *name, enum symbol_type type) {
    const struct wanted wanted = {name, type};
    if (symbols->table == 0 || symbols->names == 0) return 0;
    if (symbols->gnu_hash != 0) return find_by_gnu_hash(symbols, &wanted);
    return symbols->hash != 0 ? find_by_hash(symbols, &wanted) : 0;
}

bool symbols_is_named(const struct symbols *symbols, uint32_t number, const char *name) {
    ElfW(Sym) symbol;
    return symbols->table != 0 && symbols->names != 0
        && fetch(symbols, &symbol, symbols->table + number * sizeof symbol, sizeof symbol)
        && is_named(symbols, &symbol, name);
}

bool symbols_imports(const struct symbols *symbols, const char *name) {
    /* DT_GNU_HASH covers the defined symbols; undefined ones precede the first of them. */
    struct gnu_hash_header by_gnu;
    struct hash_header by_name;
    uint32_t count = 0;
    if (symbols->table == 0 || symbols->names == 0) return false;
    if (symbols->gnu_hash != 0 && fetch(symbols, &by_gnu, symbols->gnu_hash, sizeof by_gnu)) count = by_gnu.first;
    else if (symbols->hash != 0 && fetch(symbols, &by_name, symbols->hash, sizeof by_name)) count = by_name.count;
    for (uint32_t number = 1; number < count; number++) {
        ElfW(Sym) symbol;
        if (!fetch(symbols, &symbol, symbols->table + number * sizeof symbol, sizeof symbol)) return false;
        if (symbol.st_shndx == SHN_UNDEF && is_named(symbols, &symbol, name)) return true;
    }
    return false;
}
