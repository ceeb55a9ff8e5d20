// Verdicts on live blocks, and sums of blocks. The leak search makes them, images store them.

import CHeapImage

/// What analysis says about a live block. The numbers are those in the image.
package enum Verdict: UInt8, CaseIterable, Sendable {
    case unknown, reachable, possible, definite, indirect

    package var text: String { Self.texts[Int(rawValue)] }
    private static let texts = ["unknown", "reachable", "possible", "definite", "indirect"]

    package init?(text: String) {
        guard let index = Self.texts.firstIndex(of: text), index > 0 else { return nil }
        self.init(rawValue: UInt8(index))
    }

    /// Worst first.
    package static let shown: [Verdict] = [.definite, .indirect, .possible, .reachable]
    /// Nothing was found that surely holds the block.
    package static let lost: [Verdict] = [.definite, .indirect]
}

/// Blocks and their requested bytes.
package struct Amount: Equatable, Sendable {
    package var blocks: UInt64 = 0
    package var bytes: UInt64 = 0
    package init(blocks: UInt64 = 0, bytes: UInt64 = 0) { (self.blocks, self.bytes) = (blocks, bytes) }
    package mutating func add(_ other: Amount) {
        blocks &+= other.blocks
        bytes &+= other.bytes
    }
}
