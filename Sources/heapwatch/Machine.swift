// What gathering needs of its own process: to wait without missing a signal, to give way to others, and to say where it
// runs.

import CLaunch
import Glibc
import Watch

/// The signals that end gathering tidily: after the sample that is being taken.
struct StopSignals {
    private var set = sigset_t()

    /// Blocked from here on, so that none ends a sample in the middle.
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

/// The lowest processor priority, and the disk when nobody else wants it. Where that isn't allowed, gathering goes on
/// as it is.
func lowerPriority() {
    setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19)
    _ = launch_idle_disk()
}

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
    head.pageBytes = Int64(sysconf(Int32(_SC_PAGESIZE)))
    head.ticksPerSecond = Int64(sysconf(Int32(_SC_CLK_TCK)))
    head.processors = Int64(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return head
}
