/*
 * The word that every hook reads first.
 */
#include "threads/hook.h"

_Alignas(HEAP_PAGE_BYTES) union hook_live hook_live;
