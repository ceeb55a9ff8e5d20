# `make demo` and `make test` work on a fresh Debian machine: they first install what is missing, and say what and why.
# All that is built lies under .build, in the same tree as `make install` makes under PREFIX: the tools find
# libheapsum.so in both.

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
           session-cache lost-list shared-cycle pinned-pages three-tenants mapped-segments)

# Optimised in every build: the interposer's speed is the program's speed. Flags that matter: initial-exec TLS needs no
# allocation at a thread's first event; -z now and -fno-plt leave no lazy binding inside a hook; -mgeneral-regs-only
# needs no aligned stack, which assembly or a JIT compiler may have left off by eight bytes; -z initfirst lets the
# library's constructor run before those of other libraries.
LIBRARY_CFLAGS  = -std=c17 -D_GNU_SOURCE -O2 -g -fPIC -Wall -Wextra -Werror -fvisibility=hidden -ftls-model=initial-exec \
                  -fno-plt -fno-tree-vectorize -mgeneral-regs-only
# What differs by architecture lies in folders of its name.
MACHINE = $(shell $(CC) -dumpmachine | cut -d- -f1)
# Whether the build is for another architecture than this machine's: then the name's prefix of its binutils.
CROSS   = $(if $(filter-out $(shell uname -m),$(MACHINE)),$(shell $(CC) -dumpmachine)-)
# On aarch64 gcc's atomics call a helper, which asks libc for the processor's features.
ifeq ($(MACHINE),aarch64)
LIBRARY_CFLAGS += -mno-outline-atomics
endif
# dlsym is in libdl before glibc 2.34; later libdl is empty. The library always needs libdl, so that one build loads
# under both. --no-as-needed keeps a linker from dropping it (some compilers pass --as-needed): without libdl, under an older
# glibc, each program that doesn't load libdl itself would fail to start.
LIBRARY_LDFLAGS = -shared -Wl,-soname,libheapsum.so -Wl,-z,now -Wl,-z,initfirst -Wl,--version-script=Interposer/exports.map -Wl,--no-undefined -Wl,--push-state,--no-as-needed -l:libdl.so.2 -Wl,--pop-state
# Files are included with their folder ("book/live.h"), so that each line shows the floor that it uses.
LIBRARY_FOLDERS = Interposer
LIBRARY_SOURCES = $(filter-out Interposer/allocators/% Interposer/mappings/% Interposer/static/%,$(wildcard Interposer/*/*.c Interposer/*/$(MACHINE)/*.c))
LIBRARY_HEADERS = $(wildcard Interposer/*/*.h Interposer/*/*/*.h)
# The additional functions of an allocator, only for programs with that allocator.
ALLOCATOR_BASE = $(addprefix Interposer/base/,bytes.c loader.c musl.c segments.c symbols.c system.c)
ALLOCATORS = $(patsubst %,$(BUILD)/lib/heapsum/libheapsum-%.so,jemalloc tcmalloc)
# What a program maps itself, only with --mappings.
MAPPINGS = $(BUILD)/lib/heapsum/libheapsum-mappings.so
# To be linked into static programs, with the linker's options for that. It has no loader, and leaves C++'s operators to
# the runtime, whose malloc it sees.
STATIC = $(BUILD)/lib/heapsum/libheapsum.a
STATIC_OPTIONS = $(BUILD)/lib/heapsum/static.options
STATIC_SOURCES = Interposer/static/program.c $(filter-out $(addprefix Interposer/,base/loader.c base/musl.c base/scope.c base/walk.c hooks/hooks_cxx.c),$(LIBRARY_SOURCES))
SMALL_LIBRARY_LDFLAGS = -shared -Wl,-soname,$(@F) -Wl,-z,now -Wl,--push-state,--no-as-needed -l:libdl.so.2 -Wl,--pop-state

.PHONY: all library shared tools demo-tools examples demo test test-browser stories test-programs test-leaks test-attach test-mappings test-stacks test-kills test-fleet test-mcp test-python test-everywhere test-older-glibc test-packages stage deb tarball wheel each-package release install-ready fuzz soak bench bench-recording bench-against install clean packages lint format
.DELETE_ON_ERROR:

all: library tools

library: shared $(STATIC)

shared: $(LIBRARY) $(ALLOCATORS) $(MAPPINGS)

# The same for AArch64, by Debian's cross compiler and a Swift SDK: make tools-aarch64, and so on. The tools of this
# machine print the manual pages and completions for its packages.
FOR_AARCH64 = $(addsuffix -aarch64,library shared tools stage deb tarball wheel each-package)
.PHONY: $(FOR_AARCH64)
$(FOR_AARCH64): %-aarch64:
	@scripts/install-packages --aarch64
	@$(MAKE) --no-print-directory $* CC=aarch64-linux-gnu-gcc BUILD=.build/heapsum-aarch64 \
	    PACKAGES=.build/packages-aarch64 PRINTERS=$(BUILD)/bin
$(filter-out library-% shared-% tools-%,$(FOR_AARCH64)): tools

# Linked under another name and then renamed, so that a program that starts meanwhile gets the old library or the new.
$(LIBRARY): $(LIBRARY_SOURCES) $(LIBRARY_HEADERS) Interposer/exports.map Makefile
	$(if $(LIBRARY_SOURCES),,$(error there are no sources in Interposer))
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) $(LIBRARY_CFLAGS) $(addprefix -I,$(LIBRARY_FOLDERS)) $(CFLAGS) -o $@.$$$$ $(LIBRARY_SOURCES) $(LIBRARY_LDFLAGS) $(LDFLAGS) && mv -f $@.$$$$ $@

$(BUILD)/lib/heapsum/libheapsum-%.so: Interposer/allocators/%.c Interposer/allocators/allocator.c $(ALLOCATOR_BASE) $(LIBRARY_HEADERS) Makefile
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) $(LIBRARY_CFLAGS) $(addprefix -I,$(LIBRARY_FOLDERS)) $(CFLAGS) -o $@.$$$$ $(filter %.c,$^) $(SMALL_LIBRARY_LDFLAGS) $(LDFLAGS) && mv -f $@.$$$$ $@

$(MAPPINGS): Interposer/mappings/mappings.c Interposer/mappings/passing.c $(ALLOCATOR_BASE) $(LIBRARY_HEADERS) Makefile
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) $(LIBRARY_CFLAGS) $(addprefix -I,$(LIBRARY_FOLDERS)) $(CFLAGS) -o $@.$$$$ $(filter %.c,$^) $(SMALL_LIBRARY_LDFLAGS) $(LDFLAGS) && mv -f $@.$$$$ $@

$(STATIC): $(STATIC_SOURCES) $(LIBRARY_HEADERS) scripts/build-static Makefile
	@mkdir -p $(@D)
	@scripts/quietly $(@F) scripts/build-static $@ $(STATIC_OPTIONS) $(CC) $(LIBRARY_CFLAGS) $(addprefix -I,$(LIBRARY_FOLDERS)) $(CFLAGS) $(STATIC_SOURCES)

# SwiftPM does not notice changes in a header that Swift imports, and would keep the old layout: touch the importers.
.build/headers: $(wildcard Interposer/include/* Sources/CKernel/* Sources/CLaunch/* Sources/CLogs/* Sources/CSymbols/* Sources/CVersion/*) | .build/assets
	@mkdir -p $(@D)
	@[ ! -e $@ ] || touch Sources/*/*.swift Sources/*/*/*.swift Tests/*/*.swift
	@touch $@

# Nor does it notice changes in the files that the assembler embeds.
.build/assets: $(wildcard Sources/Page/Assets/*)
	@mkdir -p $(@D)
	@touch Sources/CAssets/assets.c $@

# SwiftPM knows what else is out of date. The tools contain the Swift library, so that they run on machines without
# Swift, and have no rpath, because they need none. They are one executable under six names: hard links or copies, not
# symbolic links, because a tool looks for the library beside its own file. lld is faster than Swift's default linker,
# and does not warn of unused functions in one of Swift's libraries. The executable is stripped (-s), so no debug
# information is made: that takes a part of the compilers' time.
RELEASE = -c release --static-swift-stdlib --disable-local-rpath -debug-info-format none \
          -Xswiftc -use-ld=lld -Xlinker -s $(if $(CROSS),,-Xswiftc -L$(CURDIR)/.build/archives)
# Those for another architecture are built with a Swift SDK, and apart: SwiftPM's .build/release is the last build's.
SDKS    = .build/swift-sdks
SCRATCH = .build$(if $(CROSS),/$(MACHINE))
SDK     = $(if $(CROSS),--swift-sdks-path $(SDKS) --swift-sdk heapsum-$(MACHINE) --scratch-path $(SCRATCH))
ONE     = $(SCRATCH)/release/heapsum-tools

tools: .build/headers .build/archives
	$(if $(CROSS),@scripts/make-swift-sdk $(SDKS))
	@# SwiftPM would take CC for its own compiler of C.
	@scripts/quietly 'the tools' env -u CC -u CXX $(SWIFT) build $(SDK) $(RELEASE) --product heapsum-tools
	@mkdir -p $(BUILD)/bin
	@for tool in $(TOOLS); do ln -f $(ONE) $(BUILD)/bin/$$tool 2>/dev/null || cp -f $(ONE) $(BUILD)/bin/$$tool || exit 1; done

# The linker takes an archive of this folder where it would else take a shared library, which an older system may have
# in an older version. A Swift SDK has no such library.
.build/archives: Makefile
	@mkdir -p $@
	@ln -sf "$$($(CXX) -print-file-name=libstdc++.a)" $@
	@touch $@

# Only what the demo needs, and not optimized: that takes a third of the time, and `make test` needs these builds too.
demo-tools: .build/headers .build/archives
	@scripts/quietly 'heapsum, heaprun, heapdump' sh -c 'for tool in heapsum heaprun heapdump; do $(SWIFT) build --product $$tool || exit; done'
	@mkdir -p .build/demo/bin
	@ln -sfn ../heapsum/lib .build/demo/lib
	@for tool in heapsum heaprun heapdump; do cp --remove-destination .build/debug/$$tool .build/demo/bin/ || exit; done

examples: $(EXAMPLES)

# Without frame pointers, like the programs of distributions.
.build/examples/%: Examples/%.c
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) -std=gnu17 -O1 -g -Wall -Wextra -IInterposer/include -o $@ $< -lpthread -lm

.build/examples/%: Examples/%.cpp
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CXX) -std=c++17 -O1 -g -Wall -Wextra -IInterposer/include -o $@ $< -lpthread -lm

packages:
	@scripts/install-packages

# The C library and the example are built while Swift's compilers wait for one another.
demo: packages
	@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j2) shared demo-tools .build/examples/pool-slot-zero
	@scripts/demo .build/demo/bin .build/examples

test: packages
	@scripts/check-includes
	@scripts/check-architectures
	@scripts/check-undefined
	@packaging/check
	@$(MAKE) --no-print-directory library examples .build/headers
	@scripts/check-calls
	@scripts/install-readers
	$(SWIFT) test $(TESTS)
	@# Once more where the recorder looks at itself.
	$(if $(TESTS),,HEAPSUM_TEST_CHECK=1 $(SWIFT) test --skip-build --filter RecordingTests)
	@# The last, so that a line too long keeps no test from running.
	@scripts/install-packages --lint
	@scripts/lint

# Runs every command of docs/stories, and compares with the pages. WRITE=--write updates the pages.
stories: packages
	@$(MAKE) --no-print-directory library examples
	$(SWIFT) build
	scripts/run-stories .build/debug .build/examples $(WRITE)

# Tests the HTML pages in a real browser.
test-browser: packages
	@scripts/install-packages --browser
	@$(MAKE) --no-print-directory all examples
	$(SWIFT) build $(RELEASE) --product make-image
	@scripts/test-browser $(BUILD)/bin .build/examples .build/release/make-image

# libFuzzer on the readers of outside files, for SECONDS in all: make fuzz SECONDS=600 SURFACE=elf. The surface
# `interposer` is the C code that reads call frame information and seccomp filters.
SECONDS = 120
SURFACE = all
fuzz: packages .build/headers
	@scripts/install-packages --lint
	$(if $(filter interposer,$(SURFACE)),@true,$(SWIFT) build -c release --sanitize=fuzzer --scratch-path .build/fuzz -Xswiftc -DFUZZER --product fuzz)
	@scripts/fuzz $(SURFACE) $(SECONDS)

# Common programs with real workloads, plain and recorded. Some minutes; ONLY='python3*' chooses rows.
test-programs: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	@scripts/test-programs $(BUILD)/bin

# The queries of Examples/fleet over 2,000 images of 40 hosts, by DuckDB, Spark and ClickHouse in a virtual environment.
# Two minutes.
test-fleet: packages
	@$(MAKE) --no-print-directory all
	@scripts/test-fleet $(BUILD)/bin

# heapsum mcp, asked by the client of Python's package mcp, in a virtual environment. Half a minute.
test-mcp: packages
	@$(MAKE) --no-print-directory all examples
	@scripts/test-mcp $(BUILD)/bin .build/examples

# heaprun --python beside memray, for each CPython of the path, in virtual environments. A minute for each.
test-python: packages
	@$(MAKE) --no-print-directory all
	@scripts/test-python $(BUILD)/bin

# Verdicts on working programs, compared with what they free later. Some minutes; ONLY='redis*' chooses rows.
test-leaks: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	$(SWIFT) build -c release --product accused
	@scripts/test-leaks $(BUILD)/bin .build/release/accused

# heaprun --pid and --detach on working programs, TIMES in all; ONLY='redis*' chooses rows.
TIMES = 1000
test-attach: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	@mkdir -p .build/test-programs
	@$(CC) -std=gnu17 -O1 -g -o .build/test-programs/churn Tests/Programs/churn.c -lpthread
	@scripts/test-attach $(BUILD)/bin $(LIBRARY) .build/test-programs $(TIMES)

# What --mappings books of real programs, compared with the kernel's list. A minute; ONLY='java' chooses rows.
test-mappings: packages
	@scripts/install-packages --programs
	@$(MAKE) --no-print-directory all
	@scripts/test-mappings $(BUILD)/bin

# Compares each stack with libunwind's, STACKS for each workload: three quarters of an hour; ONLY='git' chooses rows.
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

# The library under an older Debian's glibc, in a root directory that debootstrap makes under .build; needs root.
test-older-glibc: packages
	@scripts/install-packages --older
	@$(MAKE) --no-print-directory all
	@scripts/test-older-glibc $(BUILD)/bin $(LIBRARY) .build/older

# Other systems, other ways to link and to install, and stacks of interpreters, each a script of test-everywhere.d, as
# far as this machine can run it: PARTS=aarch64 chooses, STACKS and KILLS say how much.
test-everywhere:
	@scripts/test-everywhere --check $(PARTS)
	@$(MAKE) --no-print-directory packages
	@scripts/install-packages --everywhere
	@$(MAKE) --no-print-directory all
	@STACKS=$(if $(filter command,$(firstword $(origin STACKS))),$(STACKS)) \
	    KILLS=$(if $(filter command,$(firstword $(origin KILLS))),$(KILLS)) scripts/test-everywhere $(BUILD) $(PARTS)

# Packages, in .build/packages: what is up to date is not built again. See docs/packages.md. A file's times in them are
# those of the last commit, so that the same sources make the same packages.
PACKAGES = .build/packages
STAGE    = $(PACKAGES)/stage
stage deb tarball wheel each-package release: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)

# What `make install` installs, for all kinds of packages.
stage: all
	@rm -rf $(STAGE)
	@$(MAKE) -s install-ready DESTDIR=$(STAGE) PREFIX=
	@# Debug information of the library is for its makers alone.
	@$(CROSS)strip --strip-debug $(STAGE)/lib/heapsum/*.so $(STAGE)/lib/heapsum/*.a
	@packaging/needs --at-most 2.28 $(STAGE)/bin/heapsum $(STAGE)/lib/heapsum/*.so

deb: packages stage
	@scripts/install-packages --packaging
	@packaging/deb $(STAGE) $(PACKAGES) $(MACHINE)

tarball: packages stage
	@packaging/tarball $(STAGE) $(PACKAGES) $(MACHINE)

# The program that stands for a tool's name where that can't be a link.
$(PACKAGES)/launcher: packaging/launcher.c
	@mkdir -p $(@D)
	@scripts/quietly $(@F) $(CC) -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -no-pie -fno-pie \
	    -fno-stack-protector -Wl,--build-id=none -s -o $@ $<

wheel: packages stage $(PACKAGES)/launcher
	@packaging/wheel $(STAGE) $(PACKAGES)/launcher $(PACKAGES) $(MACHINE)

each-package: deb tarball wheel

# All of them, with the sources, the changelog's section and the checksums, in .build/release-files/heapsum-VERSION. ALSO
# is the other architecture: make release ALSO= leaves it out.
ALSO = aarch64
OTHERS = $(filter-out $(MACHINE),$(ALSO))
release: each-package $(addprefix each-package-,$(OTHERS))
	@packaging/release .build/release-files $(PACKAGES) $(addprefix $(PACKAGES)-,$(OTHERS))

# Installs, uses and removes each package where it belongs: fresh roots of Debian, an older glibc, a virtual
# environment, a container. Needs root. Some minutes; ONLY=wheel chooses one.
test-packages: release .build/examples/pool-slot-zero .build/examples/slow-growth
	@scripts/install-packages --packaging
	@ONLY="$(ONLY)" scripts/test-packages .build/release-files/heapsum-$$(packaging/version) .build/older

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
	@scripts/bench-pages $(BUILD)/bin
	@scripts/bench-mappings $(BUILD)/bin
	@scripts/bench-top $(BUILD)/bin
	@scripts/bench $(BUILD)/bin

# As make bench-recording PARTS='pairs memory' RUNS=3 ONLY='walk*': some 20 minutes without.
bench-recording: packages
	@scripts/install-packages --bench
	@$(MAKE) --no-print-directory all
	@PARTS="$(PARTS)" RUNS="$(RUNS)" ONLY="$(ONLY)" scripts/bench-recording $(BUILD)/bin $(LIBRARY)

# This library compared with another revision's, in alternating runs and by callgrind: make bench-against REV=HEAD~3 RUNS=3
REV = HEAD
bench-against: packages
	@scripts/install-packages --bench
	@$(MAKE) --no-print-directory library
	@RUNS="$(RUNS)" ONLY="$(ONLY)" scripts/bench-against $(REV) $(LIBRARY)

install: all
	@$(MAKE) --no-print-directory install-ready

# Installs what is built, and builds nothing. PRINTERS are the tools that print their own pages.
PRINTERS = $(BUILD)/bin
install-ready:
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/heapsum
	install -m 755 $(BUILD)/bin/$(firstword $(TOOLS)) $(DESTDIR)$(PREFIX)/bin
	for tool in $(wordlist 2,9,$(TOOLS)); do ln -f $(DESTDIR)$(PREFIX)/bin/$(firstword $(TOOLS)) $(DESTDIR)$(PREFIX)/bin/$$tool; done
	install -m 755 $(LIBRARY) $(ALLOCATORS) $(MAPPINGS) scripts/tables-to-parquet $(DESTDIR)$(PREFIX)/lib/heapsum
	install -m 644 $(STATIC) $(STATIC_OPTIONS) $(DESTDIR)$(PREFIX)/lib/heapsum
	install -D -m 644 Interposer/include/heapsum.h $(DESTDIR)$(PREFIX)/include/heapsum.h
	install -m 644 Interposer/include/heapsum_pmr.hpp $(DESTDIR)$(PREFIX)/include/heapsum_pmr.hpp
	scripts/install-completions $(PRINTERS) $(DESTDIR)$(PREFIX)
	scripts/install-manuals $(PRINTERS) $(DESTDIR)$(PREFIX)

# Checks and applies the sources' style: make lint FOLDERS='Sources/Text scripts'.
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
