/*
 * heapsum's version, in one place: what --version says, what an image says of the library that recorded it, and what
 * packages are called by. major.minor.patch, each below 256.
 */
#ifndef HEAPSUM_VERSION_H
#define HEAPSUM_VERSION_H

#define HEAPSUM_VERSION_MAJOR 0
#define HEAPSUM_VERSION_MINOR 1
#define HEAPSUM_VERSION_PATCH 0

#endif
