// The version of all tools, from Interposer/include/version.h, the only place that has it.

import CVersion

/// The version as `--version` prints it after the tool's name.
package let version = "\(HEAPSUM_VERSION_MAJOR).\(HEAPSUM_VERSION_MINOR).\(HEAPSUM_VERSION_PATCH)"
