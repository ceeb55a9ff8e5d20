// Pointers that a program has given to the kernel and may keep nowhere else: epoll returns them with an event, a timer
// with its signal. /proc shows both; it shows nothing of io_uring and AIO.

import Glibc
import Proc
import Text

/// The words that the kernel keeps for a process.
///
/// - Complexity: reads a link for each open descriptor, and a file for each epoll.
func readKernelWords(of processID: pid_t) -> [KernelWord] {
    var words: [KernelWord] = []
    if let directory = opendir("/proc/\(processID)/fd") {
        defer { closedir(directory) }
        var target = [CChar](repeating: 0, count: 64)
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            let count = readlinkat(dirfd(directory), name, &target, 63)
            guard count > 0,
                String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
                    == "anon_inode:[eventpoll]",
                let text = procFile("/proc/\(processID)/fdinfo/\(name)")
            else { continue }
            words += parseEpoll(text, descriptor: name)
        }
    }
    if let text = procFile(timersPath(processID)) { words += parseTimers(text) }
    return words
}

private func timersPath(_ processID: pid_t) -> String { "/proc/\(processID)/timers" }

/// The timers, if they can't be read: Linux without CONFIG_CHECKPOINT_RESTORE lacks the file.
func unreadTimers(of processID: pid_t) -> [Shortfall] {
    if procFile(timersPath(processID)) != nil { return [] }
    let why =
        procFile("/proc/self/timers") == nil ? "Linux has it with CONFIG_CHECKPOINT_RESTORE alone" : "has it ended?"
    return [Shortfall(what: "the values of timers (timer_create): \(timersPath(processID)) can't be read: \(why)")]
}

// "tfd:        5 events:       19 data:     55d0c0a2b2a0  pos:0 ino:5d sdev:f"
func parseEpoll(_ text: [UInt8], descriptor: String) -> [KernelWord] {
    text.split(separator: UInt8(ascii: "\n")).compactMap { line in
        let fields = line.split(whereSeparator: { $0 == 32 || $0 == 9 })
        guard fields.first?.elementsEqual("tfd:".utf8) == true, fields.count >= 6,
            fields[4].elementsEqual("data:".utf8),
            let value = hexadecimal(fields[5]), value != 0
        else { return nil }
        return KernelWord(
            value: value, place: "epoll \(descriptor), descriptor \(String(decoding: fields[1], as: UTF8.self))")
    }
}

// "ID: 0" and then "signal: 60/000055d0c0a2b2a0"
func parseTimers(_ text: [UInt8]) -> [KernelWord] {
    var words: [KernelWord] = [], timer = ""
    for line in text.split(separator: UInt8(ascii: "\n")) {
        let fields = line.split(separator: UInt8(ascii: " "))
        guard fields.count == 2 else { continue }
        if fields[0].elementsEqual("ID:".utf8) { timer = String(decoding: fields[1], as: UTF8.self) }
        guard fields[0].elementsEqual("signal:".utf8), let slash = fields[1].firstIndex(of: UInt8(ascii: "/")),
            let value = hexadecimal(fields[1][(slash + 1)...]), value != 0
        else { continue }
        words.append(KernelWord(value: value, place: "timer \(timer)"))
    }
    return words
}
