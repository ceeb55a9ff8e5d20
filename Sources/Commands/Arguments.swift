// Sizes and times as values of the tools' options.

import ArgumentParser
import Text

/// A number of bytes with an optional unit: 512, 64K, 10M, 2G (powers of 1,024).
package struct ByteCount: ExpressibleByArgument, Sendable {
    package let bytes: UInt64
    /// As it was typed.
    package let text: String

    package init(bytes: UInt64, text: String? = nil) { (self.bytes, self.text) = (bytes, text ?? "\(bytes)") }

    package init?(argument: String) {
        guard let bytes = byteCount(argument) else { return nil }
        self.init(bytes: bytes, text: argument)
    }

    package var defaultValueDescription: String { text }
}

/// The size of a kernel's pages: a power of two, 1K to 1M.
package struct PageSize: ExpressibleByArgument, Sendable {
    package let bytes: UInt64

    package init() { bytes = 4096 }

    package init?(argument: String) {
        guard let bytes = byteCount(argument), (1 << 10 ... 1 << 20).contains(bytes), bytes & (bytes - 1) == 0 else {
            return nil
        }
        self.bytes = bytes
    }

    package var defaultValueDescription: String { "\(bytes >> 10)K" }
}

/// A length of time: 250ms, 90s, 5m, 2h, 3d.
package struct Duration: ExpressibleByArgument, Sendable {
    package let seconds: Double
    /// As it was typed.
    package let text: String
    package var milliseconds: Int64 { Int64(seconds * 1000) }

    package init(seconds: Double) {
        (self.seconds, text) = (seconds, seconds < 1 ? "\(Int64(seconds * 1000))ms" : "\(Int(seconds))s")
    }

    package init?(argument: String) {
        guard let seconds = durationSeconds(argument) else { return nil }
        (self.seconds, text) = (seconds, argument)
    }

    package var defaultValueDescription: String { text }
}
