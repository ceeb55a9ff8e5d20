// Reports each cause once. A program that leaks threads or descriptors makes the kernel's caches of these objects grow,
// and the classes of memory that contain the caches. A file in memory makes its mount grow, the class of shared memory,
// and the processes that map it. Such rows are listed under their cause and accuse nobody else.
//
// A slab cache follows a cause if it gained between a third of an object and four objects for each of the cause's. A
// class of memory follows if its followers make up most of its growth; a sum of files, if the file does.

extension Examination {
    /// The possible sizes of a thread's stack, in bytes.
    private static let stackBytes = 4096.0 ... 65_536.0

    mutating func nameCausesOnce() {
        var followers: [Int: Int] = [:]
        followThreadsAndDescriptors(&followers)
        followMemoryFiles(&followers)
        followParts(&followers)
        for (index, cause) in followers.sorted(by: { $0.key < $1.key }) {
            // If a cause follows another one, all are listed under the first.
            var first = cause
            for _ in 0 ..< 4 { first = followers[first] ?? first }
            let finding = verdict.growing[index]
            verdict.growing[first].followers.append(
                finding.pid.map { "\(finding.name) (\($0)): \(finding.what)" } ?? finding.name)
        }
        verdict.growing = verdict.growing.enumerated().filter { followers[$0.offset] == nil }.map(\.element)
    }

    private func gained(_ index: Int) -> Double { verdict.growing[index].last - verdict.growing[index].first }

    private func followThreadsAndDescriptors(_ followers: inout [Int: Int]) {
        let causes = verdict.growing.indices.filter {
            let finding = verdict.growing[$0]
            return finding.unit == .count && finding.pid != nil
                && (finding.kind == .descriptors || finding.what == "threads")
        }
        for cause in causes {
            let gained = gained(cause)
            guard gained > 0 else { continue }
            var bytes = 0.0
            for index in verdict.growing.indices where followers[index] == nil && verdict.growing[index].kind == .slab {
                guard
                    let size = tracked.first(where: { $0.kind == .slab && $0.name == verdict.growing[index].name })?
                        .objectBytes, size > 0
                else { continue }
                let each = self.gained(index) / Double(size) / gained
                if (1.0 / 3 ... 4).contains(each) {
                    followers[index] = cause
                    bytes += self.gained(index)
                }
            }
            let isThreads = verdict.growing[cause].what == "threads"
            for index in verdict.growing.indices
            where followers[index] == nil && verdict.growing[index].kind == .kernel && verdict.growing[index].pid == nil
            {
                let finding = verdict.growing[index], grown = self.gained(index)
                let isStacks =
                    isThreads && [MemoryClass.stacks.plainName, MemoryClass.vmalloc.plainName].contains(finding.name)
                    && Self.stackBytes.contains(grown / gained)
                let isSlab = finding.name == MemoryClass.slabUnreclaimable.plainName && bytes >= 0.7 * grown
                if isStacks || isSlab { followers[index] = cause }
            }
            // Most of all processes' open files are this one's.
            for index in verdict.growing.indices
            where followers[index] == nil && verdict.growing[index].name == "file.open"
                && gained >= 0.7 * self.gained(index)
            { followers[index] = cause }
        }
    }

    /// Files before mounts, mounts and segments before the sums.
    private func followMemoryFiles(_ followers: inout [Int: Int]) {
        func isFile(_ finding: Finding) -> Bool { finding.isNamed && !finding.holders.isEmpty }
        let named = verdict.growing.indices.filter { verdict.growing[$0].isNamed }
        let causes =
            named.filter { isFile(verdict.growing[$0]) }.sorted { gained($0) > gained($1) }
            + named.filter { verdict.growing[$0].name.hasPrefix("tmpfs ") }
            + verdict.growing.indices.filter {
                verdict.growing[$0].pid != nil
                    && ["shared memory", "memory in memfds"].contains(verdict.growing[$0].what)
            }
        for cause in causes where followers[cause] == nil && gained(cause) > 0 {
            let from = verdict.growing[cause],
                pids = Set(from.holders.dropFirst().compactMap { Int64($0.prefix { $0 != " " }) })
            for index in verdict.growing.indices
            where index != cause && followers[index] == nil && gained(cause) >= 0.7 * gained(index) {
                let finding = verdict.growing[index]
                let isSum = finding.pid == nil && finding.name == MemoryClass.shared.plainName
                let isMount =
                    isFile(from) && finding.name.hasPrefix("tmpfs ") && from.name.contains(finding.name.dropFirst(6))
                let isHolder =
                    isFile(from) && finding.pid.map { pids.contains($0) } ?? false
                    && ["shared memory", "memory in memfds"].contains(finding.what)
                let isSame =
                    from.pid != nil && finding.pid == from.pid && finding.what == "memory in memfds"
                    && from.what == "shared memory"
                if isSum || isMount || isHolder || isSame { followers[index] = cause }
            }
        }
    }

    /// Sums follow their parts: the class of slabs follows the caches in it, and a sum without known parts follows
    /// everything that was found in it.
    private func followParts(_ followers: inout [Int: Int]) {
        func follow(_ sum: Int, behind isPart: (Finding) -> Bool) {
            let parts = verdict.growing.indices.filter { $0 != sum && isPart(verdict.growing[$0]) }
            guard followers[sum] == nil,
                let largest = parts.filter({ followers[$0] == nil }).max(by: { gained($0) < gained($1) })
            else { return }
            if parts.reduce(0, { $0 + gained($1) }) >= 0.7 * gained(sum) { followers[sum] = largest }
        }
        for index in verdict.growing.indices {
            let finding = verdict.growing[index]
            if finding.kind == .kernel, finding.name == MemoryClass.slabUnreclaimable.plainName {
                follow(index) { $0.kind == .slab }
            }
            if finding.kind == .unexplained, finding.name == Metrics.inUse || verdict.memory?.isPartial ?? false {
                follow(index) {
                    $0.kind == .slab || $0.pid != nil && ["resident memory", "anonymous memory"].contains($0.what)
                }
            }
        }
    }
}
