/*
 * The operators new and delete, by their mangled names: one list for the look-ups, the hooks and the exports.
 */
#ifndef HEAPSUM_OPERATORS_H
#define HEAPSUM_OPERATORS_H

/* operator new (Itanium C++ ABI, 5.1.5): plain, array, nothrow, aligned, aligned and nothrow. */
#define INTERPOSED_NEW(X) \
    X(_Znwm) \
    X(_Znam) \
    X(_ZnwmRKSt9nothrow_t) \
    X(_ZnamRKSt9nothrow_t) \
    X(_ZnwmSt11align_val_t) \
    X(_ZnamSt11align_val_t) \
    X(_ZnwmSt11align_val_tRKSt9nothrow_t) \
    X(_ZnamSt11align_val_tRKSt9nothrow_t)

/* operator delete: plain, array, nothrow, sized, aligned, sized and aligned. */
#define INTERPOSED_DELETE(X) \
    X(_ZdlPv) \
    X(_ZdaPv) \
    X(_ZdlPvRKSt9nothrow_t) \
    X(_ZdaPvRKSt9nothrow_t) \
    X(_ZdlPvm) \
    X(_ZdaPvm) \
    X(_ZdlPvSt11align_val_t) \
    X(_ZdaPvSt11align_val_t) \
    X(_ZdlPvSt11align_val_tRKSt9nothrow_t) \
    X(_ZdaPvSt11align_val_tRKSt9nothrow_t) \
    X(_ZdlPvmSt11align_val_t) \
    X(_ZdaPvmSt11align_val_t)

#define OPERATORS(X) INTERPOSED_NEW(X) INTERPOSED_DELETE(X)

#endif
