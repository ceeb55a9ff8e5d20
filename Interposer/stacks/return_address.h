/*
 * Whether a word that was taken for a return address can be one. Where a function has no call frame information, its
 * caller is a guess by the frame pointer, and that register may hold anything.
 */
#ifndef HEAPSUM_RETURN_ADDRESS_H
#define HEAPSUM_RETURN_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether `address` lies in memory that may be executed and, in a module's, behind a call instruction. Code that no
 * module holds is a JIT compiler's: interpreters and deoptimisers push addresses that no call is before, so there it is
 * enough that the memory may be executed. Takes no lock, and reads nothing that may not be there. Complexity: a load
 * for an address of late, else some system calls.
 */
bool is_return_address(uintptr_t address);

/*
 * Whether the return address above the frame pointer `fp` is that of the function at `pc`, which has no call frame
 * information, and not of a function further out: hand-written code that doesn't set the frame pointer has its own
 * return address between the stack pointer `sp` and fp. `return_address` is one by is_return_address. All of [sp, fp)
 * is mapped. Complexity: the words between, a few instructions each.
 */
bool is_own_caller(uintptr_t return_address, uintptr_t pc, uintptr_t sp, uintptr_t fp);

#endif
