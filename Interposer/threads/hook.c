/*
 * The word that every hook looks at first.
 */
#include "threads/hook.h"

_Alignas(HEAP_PAGE_BYTES) union hook_live hook_live;
