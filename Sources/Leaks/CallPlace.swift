// Where a call can be put into a stopped thread: the code that the process has for it, and the thread's stack.

import CLeaks
import Glibc

extension Snapshot {
    /// Where the process has the instructions for a call: in the kernel's own code page (vdso), which every program
    /// has, and in libc. Without the code to which signal handlers return, any instruction for a system call, or 0.
    ///
    /// - Complexity: O(bytes of code), at most 64 MB. Call it before the program is stopped.
    static func callCode(of thread: pid_t) -> leaks_code {
        let mappings = procFile("/proc/\(thread)/maps").map(parseMaps) ?? [], memory = LiveMemory(pid: thread)
        let executable = mappings.filter { $0.isExecutable && ($0.isFile || $0.path == "[vdso]") }
        // libc first; in a static program it is part of the program.
        let ordered =
            executable.filter { $0.path == "[vdso]" } + executable.filter { isLibc($0.baseName) }
            + executable.filter { $0.path != "[vdso]" && !isLibc($0.baseName) }
        var found = leaks_code(), any: UInt64 = 0, left = 64 << 20
        for mapping in ordered where found.system_call == 0 || found.signal_return == 0 {
            let start = mapping.range.lowerBound
            guard left > 0, let bytes = memory.bytes(start, count: min(mapping.range.count, left)) else { continue }
            left -= bytes.count
            let here = leaks_find_code(bytes, bytes.count, start)
            if found.system_call == 0 { found.system_call = here.system_call }
            if found.signal_return == 0 { found.signal_return = here.signal_return }
            if any == 0 { any = ThreadLayout.systemCallInstruction(in: bytes, at: start) ?? 0 }
        }
        return found.system_call != 0 && found.signal_return != 0
            ? found : leaks_code(system_call: any, signal_return: 0)
    }

    private static func isLibc(_ name: String) -> Bool {
        name.hasPrefix("libc.") || name.hasPrefix("libc-") || name.hasPrefix("ld-musl")
    }

    /// For each stopped thread the lowest address of its own stack; 0 if it runs on memory that may be no stack, or a
    /// small one: a coroutine's, or a signal handler's.
    ///
    /// - Complexity: O(threads · log mappings)
    static func stackFloors(_ stop: OpaquePointer, _ mappings: [AddressMapping]) -> [UInt64] {
        let threads = (0 ..< leaks_thread_count(stop)).map { leaks_thread_at(stop, $0)?.pointee }
        var descriptors: [Int: Int] = [:]
        for thread in threads {
            if let thread, let number = place(of: thread.thread_pointer, in: mappings) {
                descriptors[number, default: 0] += 1
            }
        }
        return threads.map { thread in
            guard let thread, thread.is_stopped != 0, let number = place(of: thread.stack_pointer, in: mappings)
            else { return 0 }
            let mapping = mappings[number], range = mapping.range
            guard mapping.isReadable, mapping.isWritable, !mapping.isShared, !mapping.isFile else { return 0 }
            if mapping.path == "[stack]" { return range.lowerBound }
            // libc puts a thread's descriptor at the end of its stack, and a page that nobody may use below. The kernel
            // joins neighbours: with two threads in it the mapping is a pool of the program's, and may hold anything.
            guard range.contains(thread.thread_pointer), thread.thread_pointer > thread.stack_pointer, number > 0,
                case let guarding = mappings[number - 1], guarding.range.upperBound == range.lowerBound,
                !guarding.isReadable, !guarding.isWritable,
                descriptors[number] == 1
            else { return 0 }
            return range.lowerBound
        }
    }

    private static func place(of address: UInt64, in mappings: [AddressMapping]) -> Int? {
        var low = 0, high = mappings.count
        while low < high {
            let middle = (low + high) / 2
            if mappings[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < mappings.count && mappings[low].range.contains(address) ? low : nil
    }
}
