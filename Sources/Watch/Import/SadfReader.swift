// Reads the output of `sadf -j` for a day of sar: JSON in which each sample has the memory, load, pressure and swapping
// of one interval. Rates and shares of intervals are added up, so that they become counters like the kernel's.

import Text

struct SadfReader {
    var file: ImportedFile
    private let emit: (ImportedMoment) -> Void
    private var sums: [String: Double] = [:]

    init(path: String, emit: @escaping (ImportedMoment) -> Void) {
        file = ImportedFile(path: path)
        self.emit = emit
    }

    static func isSadf(_ head: ArraySlice<UInt8>) -> Bool {
        head.first { $0 > 0x20 } == UInt8(ascii: "{")
    }

    mutating func read(_ bytes: [UInt8]) throws(WatchError) {
        let value: JSONValue
        do { value = try JSONReader.read(bytes) } catch {
            throw WatchError("\(file.path): \(error.description): not JSON, or cut off")
        }
        guard let hosts = value["sysstat"]?["hosts"]?.array else {
            throw WatchError(
                "\(file.path): no sysstat.hosts in it: sadf -j FILE -- -r ALL -S -W -q ALL -u prints what can be read")
        }
        if hosts.count > 1 { file.note("\(file.path): \(hosts.count) hosts in one file; all are read as one") }
        for host in hosts {
            sums = [:]
            let processors = host["number-of-cpus"]?.double ?? 1
            for (index, sample) in (host["statistics"]?.array ?? []).enumerated() { read(sample, index, processors) }
        }
    }

    private mutating func read(_ sample: JSONValue, _ index: Int, _ processors: Double) {
        guard let stamp = sample["timestamp"], let date = stamp["date"]?.string, let time = stamp["time"]?.string,
            let found = ImportTimes.find(Array("\(date) \(time)\(stamp["utc"]?.integer == 1 ? " UTC" : "")".utf8)[...])
        else {
            return file.addUnread(index + 1, "a sample without a timestamp", [])
        }
        var moment = ImportedMoment()
        moment.wall = found.wall
        let interval = stamp["interval"]?.double ?? 0
        func set(_ name: String, _ value: JSONValue?) {
            if let number = value?.double { moment.system[name] = whole(number) }
        }
        if let memory = sample["memory"] {
            for (name, key) in [
                ("MemFree", "memfree"), ("MemAvailable", "avail"), ("Buffers", "buffers"), ("Cached", "cached"),
                ("Active", "active"), ("Inactive", "inactive"), ("Dirty", "dirty"), ("AnonPages", "anonpg"),
                ("Slab", "slab"), ("KernelStack", "kstack"), ("PageTables", "pgtbl"), ("VmallocUsed", "vmused"),
                ("Shmem", "shmem"), ("SwapFree", "swpfree"), ("SwapCached", "swpcad"),
            ] { set("meminfo.\(name)", memory[key]) }
            if let free = memory["swpfree"]?.double, let used = memory["swpused"]?.double {
                moment.system["meminfo.SwapTotal"] = whole(free + used)
            }
            if let total = total(memory) { moment.system["meminfo.MemTotal"] = whole(total) }
        }
        if let huge = sample["hugepages"], let free = huge["hugfree"]?.double, let used = huge["hugused"]?.double {
            moment.system["meminfo.Hugetlb"] = whole(free + used)
        }
        if let queue = sample["queue"] {
            for (name, key) in [("1", "ldavg-1"), ("5", "ldavg-5"), ("15", "ldavg-15")] {
                if let load = queue[key]?.double { moment.system["load.\(name)"] = whole(load * 100) }
            }
            set("load.running", queue["runq-sz"])
            set("load.blocked", queue["blocked"])
            set("tasks.total", queue["plist-sz"])
        }
        func add(_ name: String, _ amount: Double?) {
            guard let amount else { return }
            sums[name, default: 0] += amount
            moment.system[name] = whole(sums[name] ?? 0)
        }
        if let swapping = sample["swap-pages"] {
            add("vmstat.pswpin", swapping["pswpin"]?.double.map { $0 * interval })
            add("vmstat.pswpout", swapping["pswpout"]?.double.map { $0 * interval })
        }
        if let processor = sample["cpu-load"]?.array?.first(where: { $0["cpu"]?.string == "all" })
            ?? sample["cpu-load-all"]?.array?.first(where: { $0["cpu"]?.string == "all" })
        {
            for (name, keys) in [
                ("user", ["user", "usr"]), ("nice", ["nice"]), ("system", ["system", "sys"]), ("iowait", ["iowait"]),
                ("steal", ["steal"]), ("irq", ["irq"]), ("softirq", ["soft"]), ("idle", ["idle"]),
            ] {
                add(
                    "cpu.\(name)",
                    keys.lazy.compactMap { processor[$0]?.double }.first.map { $0 * interval * processors })
            }
        }
        moment.system["processors.count"] = whole(processors)
        if let pressure = sample["psi"] {
            for (name, key) in [("cpu", "psi-cpu"), ("io", "psi-io"), ("memory", "psi-mem")] {
                for kind in ["some", "full"] {
                    add(
                        "pressure.\(name).\(kind).microseconds",
                        pressure[key]?["\(kind)_avg"]?.double.map { $0 / 100 * interval * 1e6 })
                }
            }
        }
        if moment.isEmpty { return }
        file.moments += 1
        emit(moment)
    }

    /// sar's used memory excludes caches and slab since version 11.7; before, it was everything but free. The share of
    /// the total beside it shows which.
    private func total(_ memory: JSONValue) -> Double? {
        guard let free = memory["memfree"]?.double, let used = memory["memused"]?.double,
            let percent = memory["memused-percent"]?.double, percent > 0
        else { return nil }
        let said = used * 100 / percent
        let candidates = [
            free + used, free + used + ["buffers", "cached", "slab"].reduce(0) { $0 + (memory[$1]?.double ?? 0) },
        ]
        return candidates.min { abs($0 - said) < abs($1 - said) }
    }
}
