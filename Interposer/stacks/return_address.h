/*
 * Whether a word can be a return address. If a function has no call frame information, its caller is guessed by the
 * frame pointer, and that register may hold anything.
 */
#ifndef HEAPSUM_RETURN_ADDRESS_H
#define HEAPSUM_RETURN_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether `address` is in executable memory and, inside a module, directly after a call instruction. Code outside of
 * all modules is a JIT compiler's: interpreters and deoptimizers push addresses that follow no call, so there it is
 * enough that the memory is executable. Takes no lock, and reads only memory that is mapped. Complexity: one load for a
 * recently asked address, else a few system calls.
 */
bool is_return_address(uintptr_t address);

/*
 * Whether the return address above the frame pointer `fp` belongs to the function at `pc`, which has no call frame
 * information, and not to a function further out. Hand-written code that doesn't set the frame pointer has its own
 * return address between the stack pointer `sp` and fp. `return_address` must satisfy is_return_address, and all of
 * [sp, fp) must be mapped. Complexity: a few instructions for each word between.
 */
bool is_own_caller(uintptr_t return_address, uintptr_t pc, uintptr_t sp, uintptr_t fp);

/* The function that the call before a return address calls: directly, by a PLT's entry or by an address in a GOT. 0 if
 * that can't be told. Complexity: one or two system calls. */
uintptr_t called_function(uintptr_t return_address);

#endif
