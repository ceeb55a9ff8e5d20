// A sample: what the machine and its processes looked like at one moment. It is a list of entities, each of a kind
// whose columns have names, and each with one number a column. The file format, the verdict and the exports know
// nothing else, so that a counter which a later kernel adds is kept, and old recordings stay readable.
//
// Invariant: values are not negative; what isn't known is `Sample.unknown`.

package enum EntityKind: UInt8, CaseIterable, Sendable {
    /// The machine: one entity, whose columns are the names in /proc with their file before them (`meminfo.MemFree`).
    case system
    /// A process from its start to its end: its `id` is "PID:start", as a PID comes back.
    case process
    case slab
    /// A control group.
    case group
}

package struct EntitySample: Sendable {
    package var kind: EntityKind
    package var id: String
    /// What people call it: a process's name, a cache's, a group's path.
    package var name: String
    /// A process's words, each ended by a NUL, as /proc has them.
    package var detail: String
    /// As many as the kind has columns, or fewer: those at the end are not known.
    package var values: [Int64]

    package init(kind: EntityKind, id: String, name: String, detail: String = "", values: [Int64]) {
        (self.kind, self.id, self.name, self.detail, self.values) = (kind, id, name, detail, values)
    }
}

/// What a sample was taken for.
package enum Occasion: Equatable, Sendable {
    case interval
    case beforeJob(String)
    /// The job and its exit status.
    case afterJob(String, Int64)
}

package struct Sample: Sendable {
    package static let unknown: Int64 = -1

    /// Since the machine's start: no one sets this clock.
    package var bootMilliseconds: Int64
    package var occasion: Occasion
    package var systemColumns: [String]
    package var groupColumns: [String]
    package var entities: [EntitySample]

    package init(
        bootMilliseconds: Int64, occasion: Occasion = .interval, systemColumns: [String] = [],
        groupColumns: [String] = [], entities: [EntitySample] = []
    ) {
        self.bootMilliseconds = bootMilliseconds
        self.occasion = occasion
        self.systemColumns = systemColumns
        self.groupColumns = groupColumns
        self.entities = entities
    }

    package func columns(_ kind: EntityKind) -> [String] {
        switch kind {
        case .system: systemColumns
        case .process: ProcessColumn.names
        case .slab: SlabColumn.names
        case .group: groupColumns
        }
    }
}

/// Of a process. Kilobytes where not said otherwise; new columns go to the end.
package enum ProcessColumn: Int, CaseIterable, Sendable {
    /// The letter that /proc gives.
    case state
    case parent
    case resident, anonymous, file, shared, swap
    /// With --pss alone.
    case proportional
    case pageTables, virtual, data
    /// The mapping [heap], which brk moves.
    case heap
    case threads, minorFaults, majorFaults
    /// In clock ticks.
    case userTicks, systemTicks
    /// Open descriptors, all kinds together; then by kind.
    case descriptors, files, sockets, pipes, events, polls, timers, watches, memoryFiles, otherDescriptors
    /// The soft limit of open descriptors.
    case descriptorLimit
    /// Bytes that wait in its sockets, and the sockets in which some do.
    case receiveQueue, sendQueue, undrainedSockets
    /// 1 where heapsum's library is mapped.
    case isRecorded
    /// Resident bytes of heapsum's image, in a process that is recorded: in `shared`, where it lies on tmpfs.
    case image
    /// In memfds that it has open, mapped or not; each counted once.
    case memoryFileKilobytes

    package var name: String { "\(self)" }
    package static let names = allCases.map(\.name)
}

/// Of a slab cache.
package enum SlabColumn: Int, CaseIterable, Sendable {
    case activeObjects, objects, objectBytes
    /// All that the cache holds.
    case pages
    /// 1 where the kernel gives the cache back when memory is short, by its own word.
    case isReclaimable

    package static let names = allCases.map { "\($0)" }
}
