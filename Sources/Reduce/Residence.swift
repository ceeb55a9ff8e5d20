// Which of the live blocks' bytes are in memory: malloc reserves, and only what is written takes a page. So a block of
// 1 GB may take nothing, and half of what is live may be on the swap device.
//
// A block's bytes count if their pages are present. What lies beside it on a page is another block's, or the
// allocator's, and does not count.

import Glibc
import HeapImage
import Proc
import Text

extension Reduction {
    /// Looks up the pages of each input whose process runs, and gives each row its resident bytes. Blocks are those of
    /// the input's moment, pages those of now. An image of a program that has ended may have stored them.
    ///
    /// - Returns: why inputs have none, in their order.
    /// - Complexity: O(blocks), and a system call for each 2 MB of them.
    package func lookUpResidence() -> [InputError] {
        var failures: [InputError] = []
        func fail(_ input: Input, _ why: String) {
            failures.append(InputError(file: input.path, what: why))
        }
        for (number, input) in inputs.enumerated() {
            if let runs = input.image?.storedPages() {
                pagesOfInputs[number] = ResidentPages(stored: runs)
                continue
            }
            guard let image = input.image, input.kind == "image", image.presence == .running else {
                fail(
                    input,
                    "its pages can be looked up only while the program runs: heaprun --resident stores those of its "
                        + "end")
                continue
            }
            let identity = image.identity
            guard
                let process = Presence.find(
                    processID: identity.processID, startTime: identity.startTime, bootID: identity.bootID),
                let thread = Presence.livingThread(of: process)
            else {
                fail(input, "its process is gone")
                continue
            }
            guard let pages = ResidentPages(processID: pid_t(bitPattern: thread)) else {
                fail(input, "its pages can't be looked up: \(String(cString: strerror(errno)))")
                continue
            }
            pagesOfInputs[number] = pages
        }
        if pagesOfInputs.isEmpty { return failures }
        var sums = [BlockWeight](repeating: BlockWeight(), count: rows.count)
        forEachLiveBlock { (_: LiveBlock, row: Int, _: Double, weight: BlockWeight) in sums[row] += weight }
        for (number, pages) in pagesOfInputs where pages.isGone || pages.isExhausted {
            pagesOfInputs[number] = nil
            fail(
                inputs[number],
                pages.isExhausted
                    ? "its blocks cover more than 8 TB of addresses, and that many pages are not looked up"
                    : "its process ended meanwhile")
        }
        for index in rows.indices { rows[index].setResidence(sums[index], isKnown: failures.isEmpty) }
        lookUpMappedResidence()
        return failures
    }

    /// Whether any input's pages were looked up.
    package var knowsResidence: Bool { !pagesOfInputs.isEmpty }

    /// Of a block, and in a sampled image of all that it stands for.
    package static func residentBytes(of block: LiveBlock, _ weight: BlockWeight, _ pages: ResidentPages) -> UInt64 {
        let (end, isTooLong) = block.address.addingReportingOverflow(block.bytes)
        guard !isTooLong, block.bytes > 0, let bytes = pages.bytes(of: block.address ..< end) else { return 0 }
        if bytes == block.bytes { return weight.bytes }
        return weight.bytes == block.bytes
            ? bytes : UInt64(Double(weight.bytes) * Double(bytes) / Double(block.bytes))
    }
}

extension Row {
    mutating func setResidence(_ sum: BlockWeight, isKnown: Bool) {
        residentBytes = isKnown && sum.blocks == blocks ? sum.residentBytes : nil
    }
}
