# heapsum: what people type. `make demo` and `make test` work on a fresh Debian machine: they install
# what is missing first, and say what and why. Everything built lies under .build, in the same tree
# that `make install` makes under PREFIX, so that the tools find libheapsum.so in either.

CC      = cc
SWIFT   = swift
PREFIX  = /usr/local
DESTDIR =

BUILD   = .build/heapsum
LIBRARY = $(BUILD)/lib/heapsum/libheapsum.so
TOOLS   = heapsum heaprun heapdump gensyms

# Optimised in any build: the interposer's speed is the program's speed. The order of the flags that
# matter: initial-exec TLS needs no allocation at a thread's first event; -z now and -fno-plt leave no
# lazy binding to happen inside a hook; initfirst lets its constructor run before other libraries'.
LIBRARY_CFLAGS  = -std=c17 -O2 -g -fPIC -Wall -Wextra -Werror -fvisibility=hidden -ftls-model=initial-exec -fno-plt
# libdl and libpthread hold something only before glibc 2.34; --as-needed drops them where they don't.
LIBRARY_LDFLAGS = -shared -Wl,-soname,libheapsum.so -Wl,-z,now -Wl,-z,initfirst -Wl,--no-undefined \
                  -Wl,--as-needed -ldl -lpthread
LIBRARY_SOURCES = $(wildcard Interposer/*.c)
LIBRARY_HEADERS = $(wildcard Interposer/*.h Interposer/include/*.h)

.PHONY: all library
.DELETE_ON_ERROR:

all: library

library: $(LIBRARY)

# Linked under a name of its own and renamed: who runs while this builds sees the old library or the new one.
$(LIBRARY): $(LIBRARY_SOURCES) $(LIBRARY_HEADERS) Makefile
	$(if $(LIBRARY_SOURCES),,$(error there are no sources in Interposer))
	@mkdir -p $(@D)
	$(CC) $(LIBRARY_CFLAGS) -IInterposer/include $(CFLAGS) -o $@.$$$$ $(LIBRARY_SOURCES) $(LIBRARY_LDFLAGS) $(LDFLAGS) && mv -f $@.$$$$ $@
