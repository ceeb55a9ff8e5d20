// The version of all tools: the one place that says it.

/// As `--version` says it, after the tool's name.
package let version = "0.1.0"
