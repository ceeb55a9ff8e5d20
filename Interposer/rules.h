/*
 * The rule cache: for a pc, one word that says how to step to the caller.
 */
#ifndef HEAPSUM_RULES_H
#define HEAPSUM_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "cfi.h"

enum rule_kind {
    RULE_NONE = 0,  /* nowhere to go: the stack is cut */
    RULE_RSP,       /* CFA = rsp + offset */
    RULE_RBP,       /* CFA = rbp + offset */
    RULE_REALIGNED, /* CFA = the word at rbp + offset: a prologue that realigned the stack; rbp is saved where it points */
    RULE_SIGNAL,    /* a signal handler's return: the interrupted registers lie in the kernel's ucontext */
    RULE_END,       /* the outermost frame */
    RULE_INTERPRET, /* anything else: by the full interpreter */
    RULE_GUESS,     /* no call frame information: rbp is taken for a frame pointer where it looks like one */
};

/* Unpacked from the cache's word. Units: bytes. The return address lies at CFA - 8 but for RULE_SIGNAL. */
struct rule {
    enum rule_kind kind;
    int32_t cfa_offset;
    uint32_t saved_fp; /* the caller's rbp lies at CFA - saved_fp; 0: in rbp still */
};

/* Where the kernel leaves registers above the stack pointer of a signal frame's return (struct ucontext_t, x86-64). */
#define SIGNAL_FRAME_RBP 120
#define SIGNAL_FRAME_RSP 160
#define SIGNAL_FRAME_RIP 168

/*
 * The rule for the instruction at `pc` (one byte back from a return address). Made once from .eh_frame, and remembered.
 * `space` is work space. No allocation, no lock.
 */
struct rule rule_for(uintptr_t pc, struct cfi_space *space);

/* A guessed frame pointer lies no further above the stack pointer than this. */
#define GUESS_MOST 0x4000

/* A module went: all rules are forgotten. */
void rules_forget(void);

#endif
