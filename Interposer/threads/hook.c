/*
 * The word that every hook reads first.
 */
#include "threads/hook.h"

_Alignas(MACHINE_PAGE_MOST) union hook_live hook_live;
