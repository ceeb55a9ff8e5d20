// The forms of logs that a benchmark is made of: how a set begins, and how a record stands in it.

import ArgumentParser

/// What the log is in the form of.
enum Form: String, ExpressibleByArgument, CaseIterable {
    case aix, kmemleak, slub

    /// What a set begins with; a kernel's log has none.
    var heading: String { self == .aix ? "Current allocation report:\n\n" : "" }

    /// The lines of a stack, as they come after a record's head.
    func traceback(_ frames: [(address: Int, name: String)]) -> [String] {
        switch self {
        case .aix:
            ["Allocation traceback:"]
                + frames.map {
                    "0x" + String($0.address, radix: 16, uppercase: true) + ($0.name.isEmpty ? "" : " \($0.name)")
                } + [""]
        case .kmemleak:
            ["  backtrace:"]
                + frames.map {
                    "    [<ffffffff\(String($0.address, radix: 16))>] "
                        + "\($0.name.isEmpty ? "0xffffffff\(String($0.address, radix: 16))" : "\($0.name)+0x24/0x80")"
                }
        case .slub:
            ["Call Trace:"]
                + frames.map {
                    " \($0.name.isEmpty ? "0xffffffff\(String($0.address, radix: 16))" : "\($0.name)+0x24/0x80")"
                }
        }
    }

    /// The lines of a record before its stack.
    func head(number: Int, address: Int, size: Int, isExtended: Bool) -> [String] {
        let place = String(address, radix: 16, uppercase: self == .aix)
        switch self {
        case .aix:
            var lines = [
                "Allocation #\(number): 0x\(place)", "Allocation size: 0x\(String(size, radix: 16, uppercase: true))",
                "Allocated from heap: 0",
            ]
            if isExtended {
                lines += [
                    "Process ID: 4711", "Thread ID: 0x1", "Clock time: \(1_700_000_000 + number)",
                    "Sequence number: \(number)",
                ]
            }
            return lines
        case .kmemleak:
            return [
                "unreferenced object 0xffff8881\(place) (size \(size)):",
                "  comm \"worker\", pid 710, jiffies \(4_302_851_558 + number) (age 58.239s)",
            ]
        case .slub:
            return [
                "TRACE kmalloc-128 alloc 0xffff8881\(place) inuse=25 fp=0x0000000000000000",
                "CPU: 3 PID: 723 Comm: worker Not tainted 6.1.0 #1",
            ]
        }
    }
}

/// What stands before each line.
enum Prefix: String, ExpressibleByArgument, CaseIterable {
    case none, dmesg, journalctl

    func text(at record: Int) -> String {
        let micros = "\(record % 1_000_000 + 1_000_000)".dropFirst()
        return switch self {
        case .none: ""
        case .dmesg: "[\(record / 1_000_000 + 10_000).\(micros)] "
        case .journalctl: "Nov 28 13:11:\(10 + record / 1_000_000 % 50) host kernel: "
        }
    }
}
