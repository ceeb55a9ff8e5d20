/*
 * The files of Sources/Page/Assets as bytes of the executable. A new file is one more line of asset_list.h.
 *
 * The assembler embeds them. SwiftPM would make array literals, for which Swift's compiler needs twenty seconds.
 */
#ifndef HEAPSUM_ASSETS_H
#define HEAPSUM_ASSETS_H

#include <stddef.h>
#include <stdint.h>

struct asset {
    const uint8_t *bytes; /* not terminated; they stay */
    size_t size;
};

/* A function for each file, such as asset_chart_js. */
#define ASSET(name, file) struct asset asset_##name(void)
#include "asset_list.h"
#undef ASSET

#endif
