// A parent's blocks are in its image, a child's in the child's; what shares the parent's memory books into the
// parent's.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct ProcessTests {
    @Test func eachAddressSpaceHasItsOwnImage() throws {
        let recording = try Scratch().recordProgram("processes")
        #expect(recording.outcome.exitStatus == 0)
        let roles = Dictionary(
            uniqueKeysWithValues: recording.outcome.output.split(separator: "\n").compactMap {
                line -> (String, UInt32)? in
                let words = line.split(separator: " ")
                return words.count == 2 ? UInt32(words[1]).map { (String(words[0]), $0) } : nil
            })
        let images = try recording.images(of: "processes").map(\.image)
        // The parent's 10 and the vfork'd child's 3; the forked, the exec'd and the raw clone's own.
        for (role, blocks) in [("parent", 13), ("fork", 7), ("exec", 5), ("clone", 4)] as [(String, UInt64)] {
            let own = images.filter { $0.header.pid == roles[role] }
            #expect(own.count == 1, "\(role)")
            guard let image = own.first else { continue }
            let held = try Reduced(image).holding("leak_here")
            #expect(held.blocks == blocks && held.bytes == blocks * 200, "\(role): \(held)")
            #expect(image.hasFlag(HEAP_FLAG_FORKED) == ["fork", "clone"].contains(role))
            #expect(image.losses.unmatched_frees == 0)
        }
        let fork = try #require(images.first { $0.header.pid == roles["fork"] })
        #expect(fork.header.parent_pid == roles["parent"])
        #expect(fork.losses.inherited_frees == 1)
        let names = try recording.names(of: "processes")
        #expect(names.count == 4, "a child that only went on to exec leaves nothing of its own: \(names)")
    }
}
