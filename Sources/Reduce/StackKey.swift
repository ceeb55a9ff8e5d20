// A stack's name that means the same in every process, on every host, in every run: a 128-bit hash of its frames. Data
// of many processes is joined by it.
//
// The definition must never change: FNV-1a of 128 bits (G. Fowler, L. C. Noll, K.-P. Vo; draft-eastlake-fnv) over the
// frames' bytes, from the outermost frame to the innermost. A frame's bytes are
//
//     "b", the build-id's length in one byte, the build-id, the offset    a module with a build-id
//     "p", the path, a zero byte, the offset                             a module without
//     "n", the function's name, a zero byte, the module, a zero byte     a log named it, or it is Python's
//     "n", the function's name, a zero byte, a zero byte                 no module, and a JIT compiler told the name
//     "a", the address                                                   no module, and no name
//     "c"                                                                frames are missing here
//
// with offsets and addresses as 8 bytes, lowest byte first. A module's offset is the return address less the module's
// load bias. The frame that names the thread (heaprun --threads) contributes no bytes, because threads have other
// numbers in every run. Nor does a tag (heapsum_tag): it says for whom the code ran, not which code. The empty stack's
// key is FNV's offset basis.

import HeapImage
import Text

/// The key of a stack.
package struct StackKey: Hashable, Sendable, CustomStringConvertible {
    package private(set) var value: UInt128

    /// Of the empty stack.
    package static let empty = StackKey(value: 0x6C62_272E_07BB_0142_62B8_2175_6295_C58D)
    private static let prime: UInt128 = 0x0000_0000_0100_0000_0000_0000_0000_013B

    private init(value: UInt128) { self.value = value }

    /// 32 hexadecimal digits.
    package var description: String {
        hexadecimalDigits(UInt64(truncatingIfNeeded: value >> 64), 16)
            + hexadecimalDigits(UInt64(truncatingIfNeeded: value), 16)
    }

    mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { value = (value ^ UInt128(byte)) &* Self.prime }
    }

    mutating func add(_ number: UInt64) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
            value = (value ^ UInt128(number >> shift & 0xFF)) &* Self.prime
        }
    }
}

extension Reduction {
    /// The keys of all stacks, by node. Without `compiled`, frames outside of all modules have no names.
    ///
    /// - Parameters:
    ///   - known: the result of an earlier call with the same names; nodes never change.
    ///   - compiled: what a JIT compiler called a frame outside of all modules.
    /// - Complexity: O(nodes that are new)
    package func stackKeys(
        _ known: [StackKey] = [], compiled: (Frame) -> String? = { _ in nil }
    ) -> [StackKey] {
        var keys = known.isEmpty ? [StackKey.empty] : known
        let heads = modules.map(Self.keyHead)
        keys.reserveCapacity(tree.count)
        for node in keys.count ..< max(tree.count, keys.count) {
            // Parents are older.
            var key = keys[Int(tree.parents[node])]
            let frame = tree.frames[node]
            add(frame, to: &key, compiled) { heads[Int(frame.module)] }
            keys.append(key)
        }
        return keys
    }

    /// The key of one stack, if `keys` are of all nodes without names. In a tree of many processes, an address means
    /// something in each of them alone: so `compiled` is one process's.
    ///
    /// - Parameter own: the keys of that process that differ, by node; is extended.
    /// - Complexity: O(depth), and O(1) for nodes that were asked for before
    package func stackKey(
        of node: UInt32, _ keys: [StackKey], own: inout [UInt32: StackKey], compiled: (Frame) -> String?
    ) -> StackKey {
        var path: [UInt32] = [], at = node
        while at != 0, own[at] == nil {
            path.append(at)
            at = tree.parents[Int(at)]
        }
        var key = own[at] ?? keys[Int(at)]
        for node in path.reversed() {
            let parent = tree.parents[Int(node)], frame = tree.frames[Int(node)]
            if key == keys[Int(parent)], frame.module != SpecialModule.none || compiled(frame) == nil {
                key = keys[Int(node)]
            } else {
                add(frame, to: &key, compiled) { Self.keyHead(modules[Int(frame.module)]) }
            }
            own[node] = key
        }
        return key
    }

    private static func keyHead(_ module: ReducedModule) -> [UInt8] {
        module.buildID.isEmpty
            ? [UInt8(ascii: "p")] + module.path + [0]
            : [UInt8(ascii: "b"), UInt8(truncatingIfNeeded: module.buildID.count)] + module.buildID
    }

    private func add(
        _ frame: Frame, to key: inout StackKey, _ compiled: (Frame) -> String?, head: () -> [UInt8]
    ) {
        switch frame.module {
        case SpecialModule.thread, SpecialModule.tag: break
        case SpecialModule.cut: key.add(CollectionOfOne(UInt8(ascii: "c")))
        case SpecialModule.none:
            if let name = compiled(frame) {
                key.add([UInt8(ascii: "n")] + name.pathBytes + [0, 0])
            } else {
                key.add(CollectionOfOne(UInt8(ascii: "a")))
                key.add(frame.offset)
            }
        case SpecialModule.named:
            guard let own = logFrame(frame) else { break }
            key.add([UInt8(ascii: "n")] + own.name + [0] + own.module + [0])
        default:
            key.add(head())
            key.add(frame.offset)
        }
    }
}
