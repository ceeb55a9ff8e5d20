// The machine's own counters: memory, pages, slabs, sockets' totals, pressure, control groups.

import Glibc
import SystemPackage

extension Gatherer {
    func gatherMemory() {
        pairs("/proc/meminfo", "meminfo.")
        pairs("/proc/vmstat", "vmstat.")
        gatherZones()
        each("/proc/buddyinfo") { line in
            // Node 0, zone   Normal   4381 3821 …
            let words = words(line)
            guard words.count > 4 else { return }
            let zone = text(words[1].prefix { $0 != UInt8(ascii: ",") }) + "." + text(words[3])
            for (order, word) in words.dropFirst(4).enumerated() {
                set("buddy.\(zone).\(order)", number(word) ?? Sample.unknown)
            }
        }
        each("/proc/sys/fs/file-nr") { line in
            for (name, word) in zip(["open", "free", "most"], words(line)) {
                set("file.\(name)", number(word) ?? Sample.unknown)
            }
        }
        gatherSharedSegments()
        do { set("kmemleak.objects", try suspects.read(files)) } catch {
            miss(
                "kmemleak (/sys/kernel/debug/kmemleak)",
                error == .noSuchFileOrDirectory ? "off, or not in this kernel, or debugfs not mounted" : "\(error)")
        }
        set("allocinfo.isThere", files.exists("/proc/allocinfo") ? 1 : 0)
    }

    // Pages on the processors' own lists are free, but not part of MemFree.
    private func gatherZones() {
        each("/proc/zoneinfo") { line in
            let words = words(line, most: 2)
            if words.count == 2, words[0].elementsEqual("count:".utf8), let count = number(words[1]) {
                add("zoneinfo.pagesOnLists", count)
            }
        }
    }

    private func gatherSharedSegments() {
        var count: Int64 = 0, bytes: Int64 = 0, isHead = true
        each("/proc/sysvipc/shm") { line in
            defer { isHead = false }
            let words = words(line)
            guard !isHead, words.count > 3, let size = number(words[3]) else { return }
            count += 1
            bytes = bytes.addingReportingOverflow(size).partialValue
        }
        if !isHead {
            set("sysvipc.segments", count)
            set("sysvipc.bytes", max(bytes, 0))
        }
    }

    /// Load, processor time, uptime.
    func gatherLoad() {
        each("/proc/loadavg") { line in
            // 13.82 7.45 4.49 9/115 12345
            let words = words(line)
            guard words.count >= 4 else { return }
            for (name, word) in zip(["1", "5", "15"], words) {
                if let load = decimal(word) { set("load.\(name)", Int64((min(load, 1e9) * 100).rounded())) }
            }
            set(
                "load.running",
                words[3].split(separator: UInt8(ascii: "/")).first.flatMap { number($0) } ?? Sample.unknown)
        }
        each("/proc/uptime") { line in
            if let seconds = words(line).first.flatMap({ decimal($0) }) {
                set("uptime.seconds", Int64(min(seconds, 1e12)))
            }
        }
        each("/proc/stat") { line in
            guard has(line, prefix: "cpu ") || has(line, prefix: "procs_") else { return }
            let words = words(line)
            if has(words[0], prefix: "cpu") {
                for (name, word) in zip(LoadHistory.shares, words.dropFirst()) {
                    set("cpu.\(name)", number(word) ?? Sample.unknown)
                }
            } else if words.count == 2, has(words[0], prefix: "procs_blocked") {
                set("load.blocked", number(words[1]) ?? Sample.unknown)
            }
        }
    }

    func gatherPressure() {
        for what in ["memory", "io", "cpu"] {
            each("/proc/pressure/\(what)") { line in
                // some avg10=0.00 avg60=0.00 avg300=0.00 total=0
                let words = words(line)
                guard let kind = words.first else { return }
                for word in words.dropFirst() where has(word, prefix: "total=") {
                    set("pressure.\(what).\(text(kind)).microseconds", number(word.dropFirst(6)) ?? Sample.unknown)
                }
            }
        }
    }

    // Lines of a name and a number, with or without a colon and a unit.
    private func pairs(_ path: String, _ prefix: String) {
        each(path) { line in
            let words = words(line, most: 2)
            guard words.count >= 2, let value = number(words[1]) else { return }
            let name = words[0].last == UInt8(ascii: ":") ? words[0].dropLast() : words[0]
            set(prefix + text(name), value)
        }
    }

    func each(_ path: String, _ body: (ArraySlice<UInt8>) -> Void) {
        do { try files.forEachLine(path, body) } catch { miss(path, error) }
    }

    func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    // MARK: Slab caches

    func gatherSlabs() -> [EntitySample] {
        var caches: [EntitySample] = []
        do {
            try files.forEachLine("/proc/slabinfo") { line in
                // name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables … : slabdata
                // <active_slabs> <num_slabs> <sharedavail>
                let words = words(line)
                guard words.count >= 15, let active = number(words[1]), let objects = number(words[2]),
                    let size = number(words[3]),
                    let pages = number(words[5]), let slabs = number(words[14])
                else { return }
                caches.append(
                    cache(
                        text(words[0]), active, objects, size, pages.multipliedReportingOverflow(by: slabs).partialValue
                    ))
            }
            return caches
        } catch {
            // The same numbers from single files, for kernels without slabinfo. Only root can read either.
            let found = slabsFromDirectories()
            if found.isEmpty { miss("/proc/slabinfo", error) }
            return found
        }
    }

    private func cache(
        _ name: String, _ active: Int64, _ objects: Int64, _ bytes: Int64, _ pages: Int64
    ) -> EntitySample {
        if reclaimable[name] == nil {
            reclaimable[name] = files.number("/sys/kernel/slab/\(name)/reclaim_account") ?? Sample.unknown
        }
        return EntitySample(
            kind: .slab, id: name, name: name,
            values: [active, objects, bytes, max(pages, 0), reclaimable[name] ?? Sample.unknown])
    }

    private func slabsFromDirectories() -> [EntitySample] {
        let place = "/sys/kernel/slab"
        return ((try? files.names(in: place)) ?? []).compactMap { name in
            // A link is another name of a cache that is listed anyway.
            guard !name.hasPrefix(":"), files.link("\(place)/\(name)").map({ $0.first == UInt8(ascii: ":") }) ?? true
            else { return nil }
            guard let active = files.number("\(place)/\(name)/objects"),
                let slabs = files.number("\(place)/\(name)/slabs"),
                let order = files.number("\(place)/\(name)/order"), order < 32,
                let size = files.number("\(place)/\(name)/object_size")
            else { return nil }
            let objects = files.number("\(place)/\(name)/total_objects") ?? active
            return cache(name, active, objects, size, slabs.multipliedReportingOverflow(by: 1 << order).partialValue)
        }
    }

    // MARK: Control groups

    /// A group's path below the hierarchy. People also paste it with /sys/fs/cgroup, or from /proc/PID/cgroup.
    static func groupPath(_ group: String) -> String {
        var path = group[...]
        // 0::/system.slice/x.service, 4:memory:/x
        if let first = path.first, first.isNumber, let slash = path.firstIndex(of: "/") { path = path[slash...] }
        for place in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup"]
        where path == place || path.hasPrefix(place + "/") {
            path = path.dropFirst(place.count)
            break
        }
        while path.hasSuffix("/") { path = path.dropLast() }
        return path.hasPrefix("/") ? String(path) : "/" + path
    }

    func setGroup(_ name: String, _ value: Int64?, _ values: inout [Int64]) {
        guard let value else { return }
        if let index = groupIndex[name] {
            while values.count <= index { values.append(Sample.unknown) }
            values[index] = value
        } else if groupColumns.count < 2000 {
            groupIndex[name] = groupColumns.count
            groupColumns.append(name)
            while values.count < groupColumns.count { values.append(Sample.unknown) }
            values[groupColumns.count - 1] = value
        }
    }

    func gatherGroups() -> [EntitySample] {
        options.groups.compactMap { group in
            let path = Self.groupPath(group)
            let second = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].first {
                files.exists("\($0)\(path)/memory.current")
            }
            let first = "/sys/fs/cgroup/memory\(path)"
            var values = [Int64](repeating: Sample.unknown, count: groupColumns.count)
            func put(_ name: String, _ value: Int64?) { setGroup(name, value, &values) }
            func table(_ path: String, _ prefix: String) {
                each(path) { line in
                    let words = words(line)
                    if words.count == 2, let value = number(words[1]) { put(prefix + text(words[0]), value) }
                }
            }
            if let second {
                put("memory.current", files.number("\(second)\(path)/memory.current"))
                put("memory.swap.current", files.number("\(second)\(path)/memory.swap.current"))
                put("memory.max", files.number("\(second)\(path)/memory.max"))
                table("\(second)\(path)/memory.stat", "stat.")
                table("\(second)\(path)/memory.events", "events.")
            } else if files.exists("\(first)/memory.stat") {
                put("memory.current", files.number("\(first)/memory.usage_in_bytes"))
                put("memory.max", files.number("\(first)/memory.limit_in_bytes"))
                put("memory.kernel", files.number("\(first)/memory.kmem.usage_in_bytes"))
                put("events.max", files.number("\(first)/memory.failcnt"))
                table("\(first)/memory.stat", "stat.")
                table("\(first)/memory.oom_control", "events.")
            } else {
                miss("control group \(path)", "no memory controller has it, of either version")
                return nil
            }
            return EntitySample(kind: .group, id: path, name: path, values: values)
        }
    }

    // MARK: heapwatch's own cost

    func gatherOwnCost() {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return }
        let time =
            Int64(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000
            + Int64(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
        set("self.microseconds", time)
        set("self.peakKilobytes", Int64(usage.ru_maxrss))
        set("self.pid", Int64(getpid()))
    }
}
