/*
 * Symbol versions, so that the library loads under a glibc as old as 2.28. glibc 2.34 gave these functions a new
 * version when it moved them into libc.so.6; the old one is still there, and is all that an older glibc has.
 * Included by every file that calls one of them; the versions are each architecture's first.
 */
#ifndef HEAPSUM_LIBC_VERSIONS_H
#define HEAPSUM_LIBC_VERSIONS_H

#if defined(__x86_64__)
#define FIRST_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define FIRST_VERSION "GLIBC_2.17"
#endif

#ifdef FIRST_VERSION
__asm__(".symver dlopen, dlopen@" FIRST_VERSION);
__asm__(".symver dlsym, dlsym@" FIRST_VERSION);
#endif

#endif
