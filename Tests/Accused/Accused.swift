// Accused, then freed: while a program works, each block that is called lost is written down; if the program frees it
// later, it had a pointer to it all the while, and the accusation was false. The program itself is the judge, and no
// list of cases is needed.

import ArgumentParser
import Glibc
import HeapImage
import Launch
import Leaks
import Proc
import Reduce
import Report
import Symbols
import Text

@main
struct Accused: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Judges a recorded program several times, and tells which blocks that were called lost it freed afterwards."
    )

    @Argument var pid: Int32
    @Option var times = 10
    @Option(help: "Milliseconds between two verdicts.") var interval = 500

    /// A block for good: an address has many blocks in time.
    struct Identity: Hashable { var address: UInt64, stack: UInt32, tick: UInt32 }

    func run() throws {
        let place = try findImage(of: pid, deadline: clockNanoseconds(CLOCK_MONOTONIC) + 5_000_000_000)
        let source: any ByteSource =
            switch place {
            case .file(let path): try FileSource(path: path.text)
            case .memory(let start, let byteCount):
                try ProcessMemorySource(process: pid, base: start, length: byteCount)
            }
        let image = try HeapImage(source, presence: .running)
        var accused: [Identity: UInt64] = [:], freed: [Identity: UInt64] = [:]
        var verdicts = 0, pauses: [UInt64] = [], shortfalls = 0, counts: [String] = []
        for _ in 0 ..< times {
            guard kill(pid, 0) == 0 else { break }
            do {
                var options = SnapshotOptions()
                options.keepsTicks = true
                let snapshot = try Snapshot.take(of: pid, image: image, options: options)
                defer { snapshot.finish() }
                let reduction = Reduction()
                try reduction.add(image)
                let verdict = LeakVerdict(snapshot, loaderStacks: reduction.stacksOfLoader(input: 0))
                verdicts += 1
                pauses.append(snapshot.pauseNanoseconds)
                if !snapshot.shortfalls.isEmpty {
                    shortfalls += 1
                    for shortfall in snapshot.shortfalls.prefix(3) { print("  not read: \(shortfall.what)") }
                }
                for note in snapshot.notes { print("  note: \(note)") }
                var lost = 0
                for block in 0 ..< verdict.table.count
                where verdict.verdict(block) == .definite || verdict.verdict(block) == .indirect {
                    accused[
                        Identity(
                            address: verdict.table.start(block), stack: verdict.table.stack(block),
                            tick: verdict.table.tick(block) ?? 0)] = verdict.table.bytes(block)
                    lost += 1
                }
                counts.append("\(lost)/\(verdict.totals[.possible]?.blocks ?? 0)/\(verdict.table.count)")
            } catch let error as LeaksError {
                print("  \(error.message)")
            }
            usleep(UInt32(interval) * 1000)
            if kill(pid, 0) == 0 { note(&accused, &freed, image) }
        }
        // What is freed on the way out counts too: its end is waited for, if it comes soon.
        for _ in 0 ..< 100 where kill(pid, 0) == 0 { usleep(10_000) }
        note(&accused, &freed, image)
        let reduction = Reduction()
        try reduction.add(image)
        let names = FrameNames(reduction), nodes = reduction.nodes(ofStacksOf: 0)
        print(
            "\(pid): \(verdicts) verdicts, lost/possible/live: \(counts.joined(separator: " ")); longest pause "
                + "\((pauses.max() ?? 0) / 1000) us; not whole: \(shortfalls)"
        )
        var byStack: [UInt32: (Int, UInt64)] = [:]
        for (block, bytes) in freed {
            byStack[block.stack, default: (0, 0)].0 += 1
            byStack[block.stack]?.1 += bytes
        }
        for (stack, (count, bytes)) in byStack.sorted(by: { $0.value.0 > $1.value.0 }).prefix(10) {
            print("  ACCUSED, THEN FREED: \(count) blocks, \(bytes) bytes")
            let node = Int(stack) < nodes.count ? nodes[Int(stack)] : 0
            for frame in reduction.frames(of: Row(node: node)).prefix(8) { print("    \(names.name(frame).text)") }
        }
        if verdicts < times { print("  only \(verdicts) of \(times) verdicts: the program ended, or refused") }
        if !freed.isEmpty || verdicts < times { throw ExitCode(1) }
    }

    private func note(_ accused: inout [Identity: UInt64], _ freed: inout [Identity: UInt64], _ image: HeapImage) {
        guard !accused.isEmpty, (try? image.refresh()) != nil else { return }
        var living: Set<Identity> = []
        image.forEachBlock { batch in
            for index in batch.indices {
                let block = Identity(address: batch[index].address, stack: batch[index].stack, tick: batch[index].tick)
                if accused[block] != nil { living.insert(block) }
            }
        }
        for (block, bytes) in accused where !living.contains(block) {
            freed[block] = bytes
            accused[block] = nil
        }
    }
}
