// The version of all tools: Interposer/include/version.h, the one place that says it.

import CVersion

/// As `--version` says it, after the tool's name.
package let version = "\(HEAPSUM_VERSION_MAJOR).\(HEAPSUM_VERSION_MINOR).\(HEAPSUM_VERSION_PATCH)"
