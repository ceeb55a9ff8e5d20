# heapsum: what people type. `make demo` and `make test` work on a fresh Debian machine: they install
# what is missing first, and say what and why. Everything built lies under .build, in the same tree
# that `make install` makes under PREFIX, so that the tools find libheapsum.so in either.

CC      = cc
CXX     = c++
SWIFT   = swift
PREFIX  = /usr/local
DESTDIR =
# Options for `swift test`, as in make test TESTS='--filter LaunchTests'.
TESTS   =

BUILD    = .build/heapsum
LIBRARY  = $(BUILD)/lib/heapsum/libheapsum.so
TOOLS    = heapsum heaprun heapdump gensyms heapwatch heaptop
EXAMPLES = $(addprefix .build/examples/,unjoined-threads pool-slot-zero producer-consumer slow-growth \
           session-cache lost-list shared-cycle)

# Optimised in any build: the interposer's speed is the program's speed. The order of the flags that
# matter: initial-exec TLS needs no allocation at a thread's first event; -z now and -fno-plt leave no
# lazy binding to happen inside a hook; general registers alone ask for no alignment of a stack that an
# assembler's code or a JIT compiler's may have left eight bytes off; initfirst lets its constructor run before other libraries'.
LIBRARY_CFLAGS  = -std=c17 -D_GNU_SOURCE -O2 -g -fPIC -Wall -Wextra -Werror -fvisibility=hidden -ftls-model=initial-exec \
                  -fno-plt -fno-tree-vectorize -mgeneral-regs-only
# What differs by architecture lies in folders of its name.
MACHINE = $(shell $(CC) -dumpmachine | cut -d- -f1)
# There gcc's atomics ask a helper of its own, which asks libc, what the processor has.
ifeq ($(MACHINE),aarch64)
LIBRARY_CFLAGS += -mno-outline-atomics
endif
# libdl holds dlsym before glibc 2.34, and is an empty shell since: it is always needed, so that one build loads under either.
# A linker that leaves out what gives it nothing (--as-needed, a default of some compilers) has to be told so: without
# it, under an older glibc, each program that doesn't happen to have libdl itself ends before it begins.
LIBRARY_LDFLAGS = -shared -Wl,-soname,libheapsum.so -Wl,-z,now -Wl,-z,initfirst -Wl,--version-script=Interposer/exports.map -Wl,--no-undefined -Wl,--push-state,--no-as-needed -l:libdl.so.2 -Wl,--pop-state
# Files are included with their folder ("book/live.h"), so that each line says on which floor it leans.
LIBRARY_FOLDERS = Interposer
LIBRARY_SOURCES = $(filter-out Interposer/allocators/%,$(wildcard Interposer/*/*.c Interposer/*/$(MACHINE)/*.c))
LIBRARY_HEADERS = $(wildcard Interposer/*/*.h Interposer/*/*/*.h)
# The functions that an allocator has beside malloc's family, for programs with that allocator alone.
ALLOCATOR_BASE = $(addprefix Interposer/base/,bytes.c loader.c symbols.c system.c)
ALLOCATORS = $(patsubst %,$(BUILD)/lib/heapsum/libheapsum-%.so,jemalloc tcmalloc)

.PHONY: all library tools examples demo test test-browser stories test-programs test-leaks test-attach test-stacks test-kills test-fleet test-older-glibc fuzz soak bench bench-recording bench-against install clean packages lint format
.DELETE_ON_ERROR:

all: library tools

library: $(LIBRARY) $(ALLOCATORS)

# Linked under a name of its own and renamed: who runs while this builds sees the old library or the new one.
$(LIBRARY): $(LIBRARY_SOURCES) $(LIBRARY_HEADERS) Interposer/exports.map Makefile
	$(if $(LIBRARY_SOURCES),,$(error there are no sources in Interposer))
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) $(LIBRARY_CFLAGS) $(addprefix -I,$(LIBRARY_FOLDERS)) $(CFLAGS) -o $@.$$$$ $(LIBRARY_SOURCES) $(LIBRARY_LDFLAGS) $(LDFLAGS) && mv -f $@.$$$$ $@

$(BUILD)/lib/heapsum/libheapsum-%.so: Interposer/allocators/%.c Interposer/allocators/allocator.c $(ALLOCATOR_BASE) $(LIBRARY_HEADERS) Makefile
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) $(LIBRARY_CFLAGS) $(addprefix -I,$(LIBRARY_FOLDERS)) $(CFLAGS) -o $@.$$$$ $(filter %.c,$^) -shared -Wl,-soname,$(@F) -Wl,-z,now \
	    -Wl,--push-state,--no-as-needed -l:libdl.so.2 -Wl,--pop-state $(LDFLAGS) && mv -f $@.$$$$ $@

# SwiftPM does not see when a header that Swift imports changes, and would keep the old layout: its importers are made to look new.
.build/headers: $(wildcard Interposer/include/* Sources/CKernel/* Sources/CLaunch/* Sources/CLogs/* Sources/CSymbols/* Sources/CVersion/*)
	@mkdir -p $(@D)
	@[ ! -e $@ ] || touch Sources/*/*.swift Sources/*/*/*.swift Tests/*/*.swift
	@touch $@

# SwiftPM knows what else is out of date. The tools carry the Swift library in them, so that they run where no
# Swift is; and no rpath, as they need none. They are one executable under six names: hard links or copies, no symbolic
# links, as a tool looks for the library beside its own file. lld is quicker than the linker that Swift takes by itself,
# and does not warn of functions that a library of Swift's has and nobody calls.
RELEASE = -c release --static-swift-stdlib --disable-local-rpath -Xswiftc -use-ld=lld -Xlinker -s
ONE     = .build/release/heapsum-tools

tools: .build/headers
	@scripts/quietly 'the tools' $(SWIFT) build $(RELEASE) --product heapsum-tools
	@mkdir -p $(BUILD)/bin
	@for tool in $(TOOLS); do ln -f $(ONE) $(BUILD)/bin/$$tool 2>/dev/null || cp -f $(ONE) $(BUILD)/bin/$$tool || exit 1; done

examples: $(EXAMPLES)

# Frame pointers are left out on purpose, as in what distributions ship.
.build/examples/%: Examples/%.c
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) -std=gnu17 -O1 -g -Wall -Wextra -o $@ $< -lpthread -lm

.build/examples/%: Examples/%.cpp
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CXX) -std=c++17 -O1 -g -Wall -Wextra -o $@ $< -lpthread -lm

packages:
	@scripts/install-packages

demo: packages
	@$(MAKE) --no-print-directory all .build/examples/pool-slot-zero
	@scripts/demo $(BUILD)/bin .build/examples

test: packages
	@scripts/check-includes
	@scripts/check-undefined
	@$(MAKE) --no-print-directory library examples .build/headers
	@scripts/check-calls
	$(SWIFT) test $(TESTS)
	@# Once more where the recorder looks at itself.
	$(if $(TESTS),,HEAPSUM_TEST_CHECK=1 $(SWIFT) test --skip-build --filter RecordingTests)
	@# The last, so that a line too long keeps no test from running.
	@scripts/install-packages --lint
	@scripts/lint

# Every command of docs/stories, held against what the pages say. With WRITE=--write the pages are made anew.
stories: packages
	@$(MAKE) --no-print-directory library examples
	$(SWIFT) build
	scripts/run-stories .build/debug .build/examples $(WRITE)

# The pages that heapsum writes, in a real browser.
test-browser: packages
	@scripts/install-packages --browser
	@$(MAKE) --no-print-directory all examples
	$(SWIFT) build $(RELEASE) --product make-image
	@scripts/test-browser $(BUILD)/bin .build/examples .build/release/make-image

# libFuzzer on the readers of files from outside, SECONDS of it in all: make fuzz SECONDS=600 SURFACE=elf. The surface
# called interposer is the C that reads call frame information and seccomp filters.
SECONDS = 120
SURFACE = all
fuzz: packages .build/headers
	@scripts/install-packages --lint
	$(if $(filter interposer,$(SURFACE)),@true,$(SWIFT) build -c release --sanitize=fuzzer --scratch-path .build/fuzz -Xswiftc -DFUZZER --product fuzz)
	@scripts/fuzz $(SURFACE) $(SECONDS)

# Programs that people run, each with a real workload, plainly and recorded. Some minutes; ONLY='python3*' chooses rows.
test-programs: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	@scripts/test-programs $(BUILD)/bin

# The queries of Examples/fleet over 2,000 images of 40 hosts, by DuckDB in a virtual environment. A minute.
test-fleet: packages
	@$(MAKE) --no-print-directory all
	@scripts/test-fleet $(BUILD)/bin

# Verdicts on real programs at work, against what they free afterwards. Some minutes; ONLY='redis*' chooses rows.
test-leaks: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	$(SWIFT) build -c release --product accused
	@scripts/test-leaks $(BUILD)/bin .build/release/accused

# heaprun --pid and --detach on real programs at work, TIMES in all; ONLY='redis*' chooses rows.
TIMES = 1000
test-attach: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	@mkdir -p .build/test-programs
	@$(CC) -std=gnu17 -O1 -g -o .build/test-programs/churn Tests/Programs/churn.c -lpthread
	@scripts/test-attach $(BUILD)/bin $(LIBRARY) .build/test-programs $(TIMES)

# Each stack against libunwind's, STACKS of each workload: three quarters of an hour; ONLY='git' chooses rows.
STACKS = 10000000
test-stacks: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	@scripts/test-stacks $(BUILD)/bin $(LIBRARY) $(STACKS)

# Each workload killed KILLS times: a quarter of an hour; ONLY='4*' chooses rows.
KILLS = 500
test-kills: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	@scripts/test-kills $(BUILD)/bin $(LIBRARY) $(KILLS)

# The library under the glibc of an older Debian, in a root made by debootstrap under .build; needs root.
test-older-glibc: packages
	@scripts/install-packages --older
	@$(MAKE) --no-print-directory all
	@scripts/test-older-glibc $(BUILD)/bin $(LIBRARY) .build/older

# A program at full churn under heaprun, dumped every second: make soak SECONDS=60; fourteen minutes without.
soak: packages
	@$(MAKE) --no-print-directory all
	@scripts/soak $(BUILD)/bin $(if $(filter command,$(firstword $(origin SECONDS))),$(SECONDS))

bench: bench-recording
	$(SWIFT) build $(RELEASE) --product make-image
	$(SWIFT) build $(RELEASE) --product make-log
	$(SWIFT) build $(RELEASE) --product symbolize
	@scripts/bench-reduce $(BUILD)/bin .build/release/make-image
	@scripts/bench-logs $(BUILD)/bin .build/release/make-log
	@scripts/bench-symbols .build/release/symbolize
	$(SWIFT) build $(RELEASE) --product make-recording
	@scripts/bench-watch $(BUILD)/bin .build/release/make-recording
	@scripts/install-packages --browser
	@scripts/bench-page $(BUILD)/bin .build/release/make-image
	@scripts/bench-leaks $(BUILD)/bin
	@scripts/bench-top $(BUILD)/bin
	@scripts/bench $(BUILD)/bin

# As make bench-recording PARTS='pairs memory' RUNS=3 ONLY='walk*': some 20 minutes without.
bench-recording: packages
	@scripts/install-packages --bench
	@$(MAKE) --no-print-directory all
	@PARTS="$(PARTS)" RUNS="$(RUNS)" ONLY="$(ONLY)" scripts/bench-recording $(BUILD)/bin $(LIBRARY)

# This library beside another revision's, in alternating runs and by callgrind: make bench-against REV=HEAD~3 RUNS=3
REV = HEAD
bench-against: packages
	@scripts/install-packages --bench
	@$(MAKE) --no-print-directory library
	@RUNS="$(RUNS)" ONLY="$(ONLY)" scripts/bench-against $(REV) $(LIBRARY)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/heapsum
	install -m 755 $(BUILD)/bin/$(firstword $(TOOLS)) $(DESTDIR)$(PREFIX)/bin
	for tool in $(wordlist 2,9,$(TOOLS)); do ln -f $(DESTDIR)$(PREFIX)/bin/$(firstword $(TOOLS)) $(DESTDIR)$(PREFIX)/bin/$$tool; done
	install -m 755 $(LIBRARY) $(ALLOCATORS) scripts/tables-to-parquet $(DESTDIR)$(PREFIX)/lib/heapsum
	install -D -m 644 Interposer/include/heapsum.h $(DESTDIR)$(PREFIX)/include/heapsum.h
	scripts/install-completions $(BUILD)/bin $(DESTDIR)$(PREFIX)
	scripts/install-manuals $(BUILD)/bin $(DESTDIR)$(PREFIX)

# What the sources' style is, held and made: make lint FOLDERS='Sources/Text scripts'.
FOLDERS =
lint: packages
	@scripts/install-packages --lint
	@scripts/lint $(FOLDERS)

format: packages
	@scripts/install-packages --lint
	@scripts/format $(FOLDERS)

clean:
	rm -rf .build/heapsum .build/examples
	$(SWIFT) package clean
