/*
 * COldestGlibc has nothing to call: its functions take the place of glibc's newer ones. See oldest.c.
 */
