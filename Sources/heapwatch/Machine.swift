// What gathering needs from its own process: waiting without missing a signal, a low priority, and the machine's
// identity.

import CLaunch
import Glibc
import Watch

/// The signals that end gathering after the current sample.
struct StopSignals {
    private var set = sigset_t()

    /// Blocked from here on, so that none interrupts a sample.
    init() {
        sigemptyset(&set)
        for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { sigaddset(&set, number) }
        sigprocmask(SIG_BLOCK, &set, nil)
        // A full pipe or a closed terminal is no reason to lose the recording.
        signal(SIGPIPE, SIG_IGN)
    }

    /// - Returns: whether a signal came before that time.
    func wait(until bootTime: Int64) -> Bool {
        var set = set
        while true {
            let left = max(0, bootTime - bootMilliseconds())
            var timeout = timespec(tv_sec: Int(left / 1000), tv_nsec: Int(left % 1000) * 1_000_000)
            if sigtimedwait(&set, nil, &timeout) > 0 { return true }
            if bootMilliseconds() >= bootTime { return false }
        }
    }
}

/// Sets the lowest processor priority, and disk access only when the disk is idle. If that isn't allowed, gathering
/// goes on without it.
func lowerPriority() {
    setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19)
    _ = launch_idle_disk()
}

/// The size of this machine's pages.
var machinePageBytes: Int64 { Int64(sysconf(Int32(_SC_PAGESIZE))) }

func machineHead(root: String, interval: Int64) -> SegmentHead {
    var head = SegmentHead()
    var name = utsname()
    if uname(&name) == 0 {
        head.host = withUnsafeBytes(of: &name.nodename) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        head.kernel = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    head.bootID = bootID(root: root)
    head.wallMilliseconds = wallMilliseconds()
    head.bootMilliseconds = bootMilliseconds()
    head.intervalMilliseconds = interval
    head.pageBytes = machinePageBytes
    head.ticksPerSecond = Int64(sysconf(Int32(_SC_CLK_TCK)))
    head.processors = Int64(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return head
}
