// The code of a JIT compiler, for a report: from the files of the process whose images the report is of. With inputs of
// several processes or recordings it isn't known whose an address is.

import CHeapImage
import Glibc
import HeapImage
import Proc
import Reduce
import Symbols

struct FoundJITCode {
    private let reduction: Reduction
    private let sysroot: String
    private var code: JITCode?
    private var answers: [UInt64: JITAnswer] = [:]
    private var known: Set<UInt64> = []
    private var readAt: UInt64 = 0
    private(set) var notes: [String] = []

    /// How often the files of a program that runs are read again, if its image has new frames.
    private static let pauseNanoseconds: UInt64 = 2_000_000_000

    init(_ reduction: Reduction, sysroot: String) {
        (self.reduction, self.sysroot) = (reduction, sysroot)
        read()
    }

    /// What a frame outside of all modules is; nil if it is in no code that is known.
    mutating func answer(of frame: Frame) -> JITAnswer? {
        if !known.contains(frame.offset), clockNanoseconds(CLOCK_MONOTONIC) &- readAt > Self.pauseNanoseconds,
            reduction.inputs.contains(where: { $0.image.map { $0.kind == .running } ?? false })
        {
            read()
        }
        if let answer = answers[frame.offset] { return answer }
        // A frame that no image has: a log's, or one that appeared since.
        return known.contains(frame.offset) ? nil : code?.answer(at: frame.offset - 1)
    }

    private mutating func read() {
        readAt = clockNanoseconds(CLOCK_MONOTONIC)
        let images = reduction.inputs.compactMap(\.image), processes = Set(reduction.inputs.map(\.processID))
        // One program's: another one that took its place by exec has the same process, and other code.
        guard processes.count == 1, let processID = processes.first.flatMap({ $0 }),
            Set(images.map { [$0.header.start_time, $0.header.started_monotonic_ns] }).count <= 1
        else { return }
        var process = JITProcess(processID: processID)
        // The image of the latest moment says most about the end.
        if let image = images.max(by: { $0.header.ended_ns < $1.header.ended_ns }) {
            let running = Presence.find(
                processID: image.header.pid, startTime: image.header.start_time, bootID: image.bootID)
            process = JITProcess(of: image, runningAs: running.map { pid_t(bitPattern: $0) })
        }
        let (code, problems) = JITCode.read(of: process, sysroot: sysroot)
        notes = problems.map { "\($0)" }
        self.code = code
        guard let code else { return }
        (answers, known) = ([:], [])
        for image in images {
            guard let found = try? JITFrames(image, code) else { continue }
            for frame in found.frames {
                let isFirst = known.insert(heap_frame_offset(frame)).inserted
                let answer = found.answers[frame]
                // Dumps of one process, at several moments.
                if isFirst {
                    answers[heap_frame_offset(frame)] = answer
                } else if answers[heap_frame_offset(frame)] != answer {
                    answers[heap_frame_offset(frame)] = .several
                }
            }
        }
    }
}
