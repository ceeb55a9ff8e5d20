/*
 * A dormant process: the library is loaded and records nothing until it is asked to, by heaprun or by the dump signal.
 *
 * heaprun asks without stopping anything. It writes its settings and a number into `heapsum_control`, which the library
 * exports, and then the word that each hook reads (HOOK_ASKED). The next hook of any thread starts the recording and
 * answers. start.c does that; this file has the table, and what must be kept meanwhile.
 */
#ifndef HEAPSUM_DORMANT_H
#define HEAPSUM_DORMANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/machine.h"
#include "include/attach.h"

extern HIDDEN struct heapsum_control dormant_control;

/* Whether the process was started dormant. It falls asleep again when a recording ends. */
extern HIDDEN bool dormant;

/* The program has asked the kernel to lock all memory that it will map: an image would be locked, and brought in whole.
 */
extern HIDDEN uint32_t dormant_locks_all;

/* The most settings that a request may have. */
#define DORMANT_SETTINGS 24

/* Fills the table in, for heaprun to find. */
void dormant_begin(void);

/* Tells heaprun whether the process can be asked now. */
void dormant_may_be_asked(bool may);

/* The settings of the request, as an environment (NULL-terminated), in `env` with room for `most` and one more. NULL if
 * two requests came at once, and mixed. */
char **dormant_settings(const char **env, size_t most);

/* The options that the process was started with, for a recording that no heaprun asked for. */
void dormant_options(void);

/* Keeps the process's own options, before others take their place. */
void dormant_keep_options(void);

/* Answers the request, if there is one. */
void dormant_answer(uint32_t result);

#endif
