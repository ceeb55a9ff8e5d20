// Where there is no space the program runs on, and what was lost is counted.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct SpaceTests {
    /// A run whose output directory is a tmpfs of this size, in a mount namespace of its own; the image is copied out
    /// of it, holes and all.
    private func run(size: String, _ command: String, scratch: Scratch) throws -> Outcome {
        try scratch.prepare("mkdir small")
        let script = """
            mount -t tmpfs -o size=\(size),mode=0700 none '\(scratch.path)/small' || exit 99
            LD_PRELOAD='\(Built.interposer)' HEAPSUM_OUTPUT='\(scratch.path)/small' \(command)
            status=$?
            for image in small/*.heap; do [ -e "$image" ] && cp --sparse=always "$image" .; done
            exit $status
            """
        let user = try scratch.shell("id -u").output == "0\n" ? [] : ["-r"] // root of its own user namespace
        return try scratch.run(["unshare"] + user + ["-m", "sh", "-c", script])
    }

    @Test(arguments: ["256k", "1m", "4m"])
    func aFullDiskCostsBlocksAndNothingElse(size: String) throws {
        let scratch = try Scratch()
        let outcome = try run(size: size, "'\(try Built.program("endings"))' return", scratch: scratch)
        #expect(outcome.exitStatus == 3 && outcome.output == "leaked\n" && outcome.messages.isEmpty, "\(outcome)")
        let image = try Recording(scratch: scratch, outcome: outcome).image(of: "endings")
        let reduced = try Reduced(image)
        let held = reduced.holding("leak")
        // The blocks that lay in the first pieces are there; every other one is counted as lost.
        #expect(held.blocks <= 100_000)
        if size == "256k" { #expect(image.losses.lost_allocations > 0 && image.losses.failed_reservations > 0) }
        #expect(
            held.blocks + image.losses.lost_allocations >= 100_000,
            "\(held.blocks) held, \(image.losses.lost_allocations) lost")
        #expect(reduced.reduction.inputs.allSatisfy { !$0.damaged }, "\(image.damages)")
    }

    @Test func aDirectoryThatCantBeWrittenLeavesTheImageInSharedMemory() throws {
        let scratch = try Scratch()
        // It forks nothing: there is one image, and its name is known.
        let running = try scratch.start(
            [try Built.program("edges")],
            variables: scratch.recordingVariables(
                [
                    "HEAPSUM_OUTPUT": "/proc/nowhere", "HEAPSUM_MESSAGES": scratch.path + "/messages",
                    "HEAPSUM_ONLY": "edges",
                ]))
        let outcome = try running.wait()
        let path = "/dev/shm/edges.\(running.pid).heap"
        defer { unlink(path) }
        let plain = try Scratch().run([try Built.program("edges")])
        #expect(outcome == plain)
        #expect(try contents(scratch.path + "/messages").contains("/proc/nowhere"))
        let image = try HeapImage(path: path)
        #expect(image.programName == "edges" && image.header.pid == UInt32(running.pid))
        let held = try Reduced(image).holding("leave")
        #expect(held.blocks == 4 && held.bytes == 148)
    }
}
