/*
 * heapsum's version, in one place: for --version, for images (which library recorded them), and for packages.
 * major.minor.patch, each below 256.
 */
#ifndef HEAPSUM_VERSION_H
#define HEAPSUM_VERSION_H

#define HEAPSUM_VERSION_MAJOR 0
#define HEAPSUM_VERSION_MINOR 1
#define HEAPSUM_VERSION_PATCH 0

#endif
