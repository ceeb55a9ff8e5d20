// Strings and modules, which give frames their names. All names are bytes that the program chose. Their length is
// bounded here; they are escaped only where they are shown.

import CHeapImage
import SystemPackage
import Text

/// One loaded ELF file.
package struct Module: Hashable {
    /// The path's bytes, unchanged; `pathText` is for people.
    package var path: [UInt8] = []
    /// Empty: the file has none.
    package var buildID: [UInt8] = []
    package var bias: UInt64 = 0
    package var start: UInt64 = 0
    package var end: UInt64 = 0
    package var loadedNanoseconds: UInt64 = 0
    /// 0: not known to be unloaded.
    package var unloadedNanoseconds: UInt64 = 0
    /// Seen with more than one bias: absolute addresses are not known.
    package var moved = false
    /// False if the entry is incomplete.
    package var isKnown = false
    /// What distinguishes the mapped file from another one at its path if it has no build-id. nil: not known, as in
    /// older images.
    package var file: ModuleFile?
    /// When the module first appeared, its path had no file any more, or another one.
    package var isReplaced = false

    package init() {}

    /// The range of the ELF file's own addresses that it covers; empty if the image's values are impossible.
    package var extent: Range<UInt64> {
        let from = start &- bias, to = end &- bias
        return start <= end && from <= to ? from ..< to : 0 ..< 0
    }

    package var pathText: String { Text.pathText(path) }
    /// The path's last part.
    package var baseName: String {
        path.split(separator: UInt8(ascii: "/")).last.map { Text.pathText($0) } ?? ""
    }
}

/// What stat(2) said about a module's file when the module first appeared.
package struct ModuleFile: Hashable, Sendable {
    package var device: UInt64
    package var inode: UInt64
    package var byteCount: UInt64
    /// Since 1970.
    package var modifiedNanoseconds: UInt64
}

extension HeapImage {
    /// The bytes of a string, at most `limit`. Empty if there is none or it lies outside of the section.
    package func string(_ string: heap_string, limit: Int) -> [UInt8] {
        if string.offset == 0 || string.length == 0 { return [] }
        let section = sections[SectionName.strings.rawValue]
        let readable = section.readableEntries
        let (end, overflow) = Int(string.offset).addingReportingOverflow(Int(string.length))
        guard !overflow, end <= readable else {
            note("a string lies outside of section STRINGS", at: section.offset &+ UInt64(string.offset))
            return []
        }
        if Int(string.length) > limit {
            note("a string is longer than \(limit) bytes", at: section.offset &+ UInt64(string.offset))
        }
        let count = min(Int(string.length), limit)
        let place = section.offset &+ UInt64(string.offset)
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(Errno) {
                let bytes = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<count])
                filled = try source.read(into: bytes, at: place)
            } catch {
                note("a string can't be read: \(error)", at: place)
                filled = 0
            }
        }
    }

    /// The text of a tag's frame (`HEAP_MODULE_TAG`); nil, with a note, if it can't be read.
    package func tag(_ frame: UInt64) -> [UInt8]? {
        let text = heap_tag_string(frame)
        guard text.offset != 0, text.length <= UInt32(HEAP_TAG_BYTES) else {
            note("a tag longer than \(HEAP_TAG_BYTES) bytes, or without a text", at: place(of: .nodes, 0))
            return nil
        }
        let bytes = string(text, limit: Int(HEAP_TAG_BYTES))
        return bytes.count == Int(text.length) ? bytes : nil
    }

    /// The same as text. The bytes can be restored from it: see `pathText`.
    package func text(_ string: heap_string, limit: Int) -> String {
        pathText(self.string(string, limit: limit))
    }

    /// All modules. Entry 0 means "none". Frames name a module by its index.
    ///
    /// - Complexity: O(modules), of which there are at most 65,532.
    package func modules() -> [Module] {
        var modules = [Module()]
        forEachEntry(of: .modules, as: heap_module.self, from: 1) { index, entry in
            guard index < Int(HEAP_MODULE_PYTHON) else { return }
            var module = Module()
            if entry.flags & HEAP_MODULE_READY.rawValue != 0 {
                module.isKnown = true
                module.path = string(entry.path, limit: 4096)
                var length = Int(clamping: entry.build_id_length)
                if length > Int(HEAP_BUILD_ID_BYTES) {
                    note("a build-id longer than its field", at: place(of: .modules, index))
                    length = 0
                }
                module.buildID = withUnsafeBytes(of: entry.build_id) { Array($0.prefix(length)) }
                module.bias = entry.bias
                module.start = entry.start
                module.end = entry.end
                module.loadedNanoseconds = entry.loaded_ns
                module.unloadedNanoseconds = entry.unloaded_ns
                module.moved = entry.flags & HEAP_MODULE_MOVED.rawValue != 0
                module.isReplaced = entry.flags & HEAP_MODULE_REPLACED.rawValue != 0
                let file = ModuleFile(
                    device: entry.device, inode: entry.inode, byteCount: entry.file_bytes,
                    modifiedNanoseconds: entry.modified_ns)
                if file.byteCount | file.modifiedNanoseconds | file.inode | file.device != 0 { module.file = file }
            }
            modules.append(module)
        }
        return modules
    }
}
