// What one input may take, enforced by the kernel: a second of processor time (five where nothing was optimised, which
// takes ten times as long), and memory by its size.
//
// Memory is limited by RLIMIT_DATA, which counts what a process maps for itself, touched or not: a
// reservation that nothing is ever put in counts too. Processor time, not wall time, so that a busy
// machine fails no test.

import CFuzz
import Glibc

/// The limits around one input.
struct Limits {
    /// What an input may take beside its multiple: buffers of a megabyte each, and the allocator's own steps.
    static let spareBytes = 24 << 20
    static let multiple = 16
    #if DEBUG
        static let seconds = 5
    #else
        static let seconds = 1
    #endif

    private let before: UInt64
    private let time: timespec

    /// Sets the limits for an input of `bytes`.
    init(bytes: Int) {
        malloc_trim(0)
        before = Self.status("VmData:")
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
        limit.rlim_cur = rlim_t(before + UInt64(Self.spareBytes + bytes * Self.multiple))
        setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
        // Writing 5 makes the peak of the resident size begin anew.
        let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        if file >= 0 {
            write(file, "5", 1)
            close(file)
        }
        resident = Self.status("VmRSS:")
        var timer = itimerval(it_interval: timeval(), it_value: timeval(tv_sec: Self.seconds, tv_usec: 0))
        setitimer(__itimer_which_t(ITIMER_PROF.rawValue), &timer, nil)
        time = Self.now()
    }
    private let resident: UInt64

    /// Takes the limits off; the processor time in milliseconds, and by how much the resident size grew at the most.
    func end() -> (milliseconds: Int, bytes: Int) {
        let now = Self.now()
        var none = itimerval()
        setitimer(__itimer_which_t(ITIMER_PROF.rawValue), &none, nil)
        let peak = Self.status("VmHWM:")
        return (
            (now.tv_sec - time.tv_sec) * 1000 + (now.tv_nsec - time.tv_nsec) / 1_000_000,
            Int(peak - min(peak, resident))
        )
    }

    private static func now() -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return time
    }

    /// A line of /proc/self/status, in bytes.
    private static func status(_ name: String) -> UInt64 {
        let file = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 8192)
        let count = max(0, text.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) })
        for line in text[..<count].split(separator: UInt8(ascii: "\n")) where line.starts(with: name.utf8) {
            let digits = line.filter { $0 >= 0x30 && $0 <= 0x39 }
            return (UInt64(String(decoding: digits, as: UTF8.self)) ?? 0) << 10
        }
        return 0
    }
}
