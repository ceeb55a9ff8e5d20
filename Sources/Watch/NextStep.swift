// What to do next: a command to type, and the heapsum call that reduces its output. The recorded kernel version decides
// what is possible, because the verdict may be read on another machine.

import Text

package struct NextStep: Equatable, Sendable {
    package var command: String
    /// The reason or the requirements; a sentence.
    package var remark = ""
}

struct NextSteps {
    let kernel: String
    let hasAllocinfo: Bool
    let hasKmemleak: Bool
    /// The size of a page of the machine.
    let pageBytes: Int64
    /// Of the recording.
    var directory = "."

    private var version: (Int, Int) {
        let numbers = kernel.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        return numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
    }

    func process(pid: Int64, detail: String, name: String, hasEnded: Bool, isRecorded: Bool) -> NextStep {
        if isRecorded && !hasEnded {
            return NextStep(
                command: "heapsum diff $(heapdump \(pid)) $(sleep 600; heapdump \(pid))",
                remark: "heapsum's library is in it already: two dumps, and what grew between them.")
        }
        let words = detail.split(separator: "\0").map { shellWord(String($0)) }
        let command = words.isEmpty ? shellWord(name) : words.joined(separator: " ")
        return NextStep(
            command: "heaprun -o heap \(command)",
            remark: "Then kill -USR2 PID for a dump, and heapsum heap. It must be there from the start.")
    }

    func shared(pid: Int64) -> NextStep {
        NextStep(
            command: "grep -A9 -E '^[0-9a-f]+-.* [r-][w-][x-]s ' /proc/\(pid)/smaps",
            remark: "The mappings behind it; whoever made them is seen with strace -k -e trace=mmap,shmat.")
    }

    func descriptors(pid: Int64, what: String) -> NextStep {
        switch what {
        case "sockets":
            NextStep(
                command: "ss -anp | grep pid=\(pid),",
                remark: "strace -k -f -e trace=socket,accept4,close -p \(pid) shows who opens them.")
        case "files":
            NextStep(
                command: "ls -l /proc/\(pid)/fd | awk '{ print $NF }' | sort | uniq -c | sort -n",
                remark: "strace -k -f -e trace=openat,close -p \(pid) shows who opens them.")
        case "threads":
            NextStep(
                command: "gdb -p \(pid) -batch -ex 'thread apply all backtrace'",
                remark:
                    "Threads that have ended and were never joined hold memory, and don't show here: heaprun sees "
                    + "those."
            )
        default:
            NextStep(
                command: "ls -l /proc/\(pid)/fd", remark: "strace -k -f -e trace=%desc -p \(pid) shows who opens them.")
        }
    }

    func queue(pid: Int64, isReceiving: Bool) -> NextStep {
        NextStep(
            command: "ss -tuanmp | grep pid=\(pid),",
            remark: isReceiving
                ? "It doesn't read: gdb -p \(pid) -batch -ex 'thread apply all backtrace' shows what it does instead."
                : "The other side doesn't read: the peer's address is in ss's line.")
    }

    /// For a group: its processes; for tmpfs and a segment: its contents, and who has it open.
    func group(_ name: String, holders: [String] = []) -> NextStep {
        let pids = holders.dropFirst().compactMap { Int64($0.prefix { $0 != " " }) }
        if name.hasPrefix("memfd ") || name == "shared anonymous memory" || name.hasPrefix("deleted file ") {
            guard let pid = pids.first else {
                return NextStep(command: "lsof -n +L1", remark: "Files without a name, and who has them open.")
            }
            return NextStep(
                command: "grep -E 'memfd|deleted' /proc/\(pid)/maps; ls -lL /proc/\(pid)/fd",
                remark: "strace -k -f -e trace=memfd_create,ftruncate,fallocate,mmap -p \(pid) shows who makes it grow."
            )
        }
        if name.hasPrefix("file ") {
            let path = shellWord(String(name.dropFirst(5)))
            return NextStep(
                command: "ls -ls \(path); fuser -vm \(path)",
                remark: pids.first.map {
                    "strace -k -f -e trace=write,ftruncate,fallocate -p \($0) shows who writes it."
                } ?? "No process that is watched has it open: whoever wrote it left it.")
        }
        if name.hasPrefix("tmpfs ") {
            let mount = shellWord(String(name.dropFirst(6)))
            return NextStep(
                command: "find \(mount) -xdev -type f -ls | sort -n -k 7 | tail; fuser -vm \(mount)",
                remark:
                    "The largest files with their owners, and who has them open. Files that were deleted and are still "
                    + "open: lsof +L1 \(mount)."
            )
        }
        if name.hasPrefix("System V segment ") {
            let number = name.dropFirst(17).prefix { $0.isNumber }
            return NextStep(
                command: "ipcs -m -i \(number); grep -l 'SYSV.* (deleted)' /proc/[0-9]*/maps",
                remark: "Who made it, who is attached; it stays until ipcrm -m \(number).")
        }
        let directory = shellWord("/sys/fs/cgroup" + name)
        return NextStep(
            command: "ps -o pid,rss,args -p $(paste -sd, \(directory)/cgroup.procs); cat \(directory)/memory.stat",
            remark: "Who is in the group. Version 1 has it below /sys/fs/cgroup/memory.")
    }

    func slab(_ cache: String, objectBytes: Int64) -> NextStep {
        // The trace file can be written up to 5.8. alloc_traces exists since 5.14, alloc_calls before.
        let name = shellWord(cache)
        let (major, minor) = version
        if major > 0 && (major, minor) < (5, 9) {
            return NextStep(
                command:
                    "echo 1 > /sys/kernel/slab/\(name)/trace; sleep 60; echo 0 > /sys/kernel/slab/\(name)/trace; dmesg "
                    + "> slub.txt; heapsum --input slub slub.txt",
                remark: "It slows the machine while it traces.")
        }
        let file =
            (major, minor) < (5, 14) && major > 0
            ? "/sys/kernel/slab/\(name)/alloc_calls" : "/sys/kernel/debug/slab/\(name)/alloc_traces"
        return NextStep(
            command:
                "cat \(file) > traces.txt; heapsum --input alloc-traces --cache "
                + "\(name)\(objectBytes > 0 ? "=\(objectBytes)" : "") traces.txt",
            remark:
                "Boot with slub_debug=U,\(name) first, so that the kernel keeps who allocates; slab_nomerge keeps "
                + "caches of one size apart. "
                + "Without a boot: memleak-bpfcc 60 1 > memleak.txt; heapsum memleak.txt, or perf record -a -g -e "
                + "'kmem:*' sleep 60; perf script > kmem.txt; heapsum kmem.txt."
                + (hasAllocinfo ? " Or heapsum --input allocinfo /proc/allocinfo." : ""))
    }

    func memory(_ which: MemoryClass) -> NextStep {
        switch which {
        case .shared:
            NextStep(
                command: "ls -lS /dev/shm; ipcs -m; df -t tmpfs",
                remark: "Files in tmpfs and System V segments stay when the program is gone.")
        case .vmalloc:
            NextStep(command: "sort -k2 -n -r /proc/vmallocinfo | head -20", remark: "Each line names the caller.")
        case .pageTables:
            NextStep(command: "grep VmPTE /proc/[0-9]*/status | sort -k2 -n | tail", remark: "Whose they are.")
        case .stacks:
            NextStep(command: "grep Threads /proc/[0-9]*/status | sort -k2 -n | tail", remark: "One for each thread.")
        case .sockets: NextStep(command: "ss -tuanmp", remark: "skmem shows what each socket holds.")
        case .slabReclaimable, .slabUnreclaimable, .otherReclaimable:
            NextStep(command: "slabtop -o -s c", remark: "Which cache; then heapwatch's own line on it.")
        default: unexplained
        }
    }

    var unexplained: NextStep {
        if hasAllocinfo {
            return NextStep(
                command: "heapsum --input allocinfo /proc/allocinfo",
                remark: "Every place in the kernel that allocates, and what it holds.")
        }
        let size = pageBytes == 4096 ? "" : " --page-size \(pageBytes >> 10)K"
        return NextStep(
            command: "cat /sys/kernel/debug/page_owner > pages.txt; heapsum --input page-owner\(size) pages.txt",
            remark: "Boot with page_owner=on first, so that the kernel keeps who takes pages.")
    }

    /// For data in which programs' memory can't be told from the kernel's.
    var notToldApart: NextStep {
        NextStep(
            command: "heapwatch -o watch --interval 60s --duration 1d; heapwatch verdict watch",
            remark: "What was gathered doesn't tell programs' memory from the kernel's: heapwatch's own samples do.")
    }

    var kmemleak: NextStep {
        NextStep(
            command: "heapsum --input kmemleak \(shellWord(directory))/\(SuspectFile.name)",
            remark:
                "Each object that kmemleak came to suspect meanwhile, with its stack; echo scan > "
                + "/sys/kernel/debug/kmemleak looks again."
        )
    }
}
