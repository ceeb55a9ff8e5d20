// One cause, told once: a program that leaks threads or descriptors makes the kernel's caches of their objects grow, and the
// classes of memory that these lie in. Such rows stand under their cause, and accuse nobody beside it.
//
// A row follows where it gained as many objects as the cause gained, or a few for each: between a third and four; and a class of
// memory, where what follows makes up most of its growth.

extension Examination {
    /// What one thread's stack may be, in bytes.
    private static let stackBytes = 4096.0 ... 65_536.0

    mutating func nameCausesOnce() {
        let causes = verdict.growing.indices.filter {
            let finding = verdict.growing[$0]
            return finding.unit == .count && finding.pid != nil && (finding.kind == .descriptors || finding.what == "threads")
        }
        var followers: [Int: Int] = [:]
        for cause in causes {
            let gained = verdict.growing[cause].last - verdict.growing[cause].first
            guard gained > 0 else { continue }
            var bytes = 0.0
            for index in verdict.growing.indices where followers[index] == nil && verdict.growing[index].kind == .slab {
                let finding = verdict.growing[index]
                guard let size = tracked.first(where: { $0.kind == .slab && $0.name == finding.name })?.objectBytes, size > 0 else { continue }
                let each = (finding.last - finding.first) / Double(size) / gained
                if (1.0 / 3 ... 4).contains(each) {
                    followers[index] = cause
                    bytes += finding.last - finding.first
                }
            }
            let isThreads = verdict.growing[cause].what == "threads"
            for index in verdict.growing.indices where followers[index] == nil && verdict.growing[index].kind == .kernel && verdict.growing[index].pid == nil {
                let finding = verdict.growing[index], grown = finding.last - finding.first
                let isStacks = isThreads && [MemoryClass.stacks.plainName, MemoryClass.vmalloc.plainName].contains(finding.name) && Self.stackBytes.contains(grown / gained)
                let isSlab = finding.name == MemoryClass.slabUnreclaimable.plainName && bytes >= 0.7 * grown
                if isStacks || isSlab { followers[index] = cause }
            }
        }
        for (index, cause) in followers.sorted(by: { $0.key < $1.key }) { verdict.growing[cause].followers.append(verdict.growing[index].name) }
        verdict.growing = verdict.growing.enumerated().filter { followers[$0.offset] == nil }.map(\.element)
    }
}
