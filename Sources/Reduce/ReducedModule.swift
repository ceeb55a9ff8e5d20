// The modules of a reduction, and what tells two files apart that have the same path.

import HeapImage
import Text

/// One loaded file that frames refer to. Files are the same if path and build-id are equal; without a build-id, if
/// path, size and date are.
package struct ReducedModule {
    package var path: [UInt8]
    package var buildID: [UInt8]
    package var identity = FileIdentity()
    /// Load address less the file's own, if all inputs agree on it.
    package var bias: UInt64?
    /// The range of its own addresses, without a bias, that it covers; empty if not known.
    package var extent: Range<UInt64> = 0 ..< 0
    /// False for the special modules, and for an incomplete entry.
    package var isFile: Bool

    package var baseName: String {
        path.split(separator: UInt8(ascii: "/")).last.map { pathText($0) } ?? ""
    }

    /// The absolute addresses that it covers; its own, from 0, if it has no single load address.
    package var addresses: Range<UInt64> {
        guard let bias else { return 0 ..< extent.upperBound }
        let start = extent.lowerBound &+ bias, end = extent.upperBound &+ bias
        return start <= end ? start ..< end : 0 ..< 0
    }
}

extension ReducedModule {
    /// Distinguishes a file without a build-id from another build at the same path. Device and inode are not part of
    /// it, because a copy has other ones.
    package struct FileIdentity: Hashable {
        /// nil if not known.
        package var byteCount: UInt64?
        package var modifiedNanoseconds: UInt64?
        /// Its path had no file any more, or another one.
        package var isReplaced = false
        /// The module that ran had no build-id. False if not known: logs don't say.
        package var hasNoBuildID = false

        package init() {}

        /// Empty for a module with a build-id, which is enough.
        package init(_ module: Module) {
            guard module.buildID.isEmpty else { return }
            (byteCount, modifiedNanoseconds) = (module.file?.byteCount, module.file?.modifiedNanoseconds)
            isReplaced = module.isReplaced
            hasNoBuildID = true
        }
    }
}
