// What the tests share: recorded trees, recordings made of them by a simulated clock, and the processes to watch.

import Glibc
import TestSupport

@testable import Watch

/// The trees of make-trees, made once.
enum Trees {
    static let count = 41

    static let path: Result<String, Failure> = {
        let path = "/tmp/heapsum-test-trees-\(getpid())"
        guard system("'\(Built.root)/Tests/WatchTests/make-trees' \(path) \(count)") == 0 else {
            return .failure(Failure("make-trees failed"))
        }
        return .success(path)
    }()

    /// A recording of all trees, a minute apart.
    static func record(
        into directory: String, groups: [String] = [], selection: Selection = Selection(), keptBytes: UInt64 = 1 << 30
    ) throws {
        let trees = try path.get()
        let writer = try SampleWriter(directory: directory, head: head, keptBytes: keptBytes)
        for minute in 0 ..< count { try writer.append(sample(trees, minute, groups: groups, selection: selection)) }
        writer.finish()
    }

    static var head: SegmentHead {
        var head = SegmentHead()
        (head.kernel, head.wallMilliseconds, head.bootMilliseconds, head.intervalMilliseconds) = (
            "5.10.0-8-amd64", 1_700_000_000_000, 7_000_000, 60_000
        )
        return head
    }

    static func sample(
        _ trees: String, _ minute: Int, groups: [String] = [], selection: Selection = Selection()
    ) -> Sample {
        var options = GatherOptions()
        options.root = "\(trees)/" + String(String(1000 + minute).dropFirst())
        options.groups = groups
        options.selection = selection
        return Gatherer(options).sample(at: 7_000_000 + Int64(minute) * 60_000)
    }
}

func verdict(of directory: String) throws -> Verdict {
    var examination = Examination(directory: directory)
    return try examination.run()
}

/// All samples of a recording, and what of it could not be read.
func samples(in directory: String) throws -> (samples: [Sample], damages: [Damage]) {
    var reader = SampleReader(directory: directory), samples: [Sample] = []
    try reader.forEach { _, decoder in samples.append(decoder.sample()) }
    return (samples, reader.damages)
}

extension Sample {
    /// With entities in one order, so that two can be compared.
    var lines: [String] {
        entities.map { "\($0.kind) \($0.id) \($0.name) \($0.detail) \($0.values)" }.sorted() + [
            "\(bootMilliseconds) \(occasion) \(systemColumns) \(groupColumns)"
        ]
    }

    func value(_ name: String) -> Int64? {
        guard let index = systemColumns.firstIndex(of: name), let system = entities.first(where: { $0.kind == .system })
        else { return nil }
        return index < system.values.count ? system.values[index] : Sample.unknown
    }

    func process(_ pid: Int64) -> EntitySample? { entities.first { $0.kind == .process && $0.id.hasPrefix("\(pid):") } }
}

extension EntitySample {
    subscript(_ column: ProcessColumn) -> Int64 { values[column.rawValue] }
}
