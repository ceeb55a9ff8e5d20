// A sample: the state of the machine and its processes at one moment. It is a list of entities. Each entity has a kind,
// whose columns have names, and one number for each column. The file format, the verdict and the exports know nothing
// else. So a counter that a later kernel adds is kept, and old recordings stay readable.
//
// Invariant: values are not negative; an unknown value is `Sample.unknown`.

package enum EntityKind: UInt8, CaseIterable, Sendable {
    /// The machine: one entity. Its columns are names from /proc after their file's name (`meminfo.MemFree`).
    case system
    /// A process from its start to its end. Its `id` is "PID:start", because PIDs are reused.
    case process
    case slab
    /// A control group.
    case group
}

package struct EntitySample: Sendable {
    package var kind: EntityKind
    package var id: String
    /// Its name for people: a process's or a cache's name, a group's path.
    package var name: String
    /// A process's arguments, each ended by a NUL, as in /proc.
    package var detail: String
    /// One for each of the kind's columns; missing ones at the end are not known.
    package var values: [Int64]

    package init(kind: EntityKind, id: String, name: String, detail: String = "", values: [Int64]) {
        (self.kind, self.id, self.name, self.detail, self.values) = (kind, id, name, detail, values)
    }
}

/// Why a sample was taken.
package enum Occasion: Equatable, Sendable {
    case interval
    case beforeJob(String)
    /// The job and its exit status.
    case afterJob(String, Int64)
}

package struct Sample: Sendable {
    package static let unknown: Int64 = -1

    /// Since the machine's start. Nobody sets this clock.
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

/// A process's columns. Kilobytes unless it says otherwise. New columns must be added at the end.
package enum ProcessColumn: Int, CaseIterable, Sendable {
    /// The letter from /proc.
    case state
    case parent
    case resident, anonymous, file, shared, swap
    /// Only with --pss.
    case proportional
    case pageTables, virtual, data
    /// The mapping [heap], which grows by brk.
    case heap
    case threads, minorFaults, majorFaults
    /// In clock ticks.
    case userTicks, systemTicks
    /// Open descriptors: all, then by kind.
    case descriptors, files, sockets, pipes, events, polls, timers, watches, memoryFiles, otherDescriptors
    /// The soft limit of open descriptors.
    case descriptorLimit
    /// Bytes that wait in its sockets, and the number of sockets with such bytes.
    case receiveQueue, sendQueue, undrainedSockets
    /// 1 if heapsum's library is mapped.
    case isRecorded
    /// Resident size of heapsum's image in a recorded process. It is part of `shared` if the image is on tmpfs.
    case image
    /// Size of its open memfds, mapped or not; each counted once.
    case memoryFileKilobytes

    package var name: String { "\(self)" }
    package static let names = allCases.map(\.name)
}

/// A slab cache's columns.
package enum SlabColumn: Int, CaseIterable, Sendable {
    case activeObjects, objects, objectBytes
    /// All pages of the cache.
    case pages
    /// 1 if the kernel says that it reclaims the cache when memory is short.
    case isReclaimable

    package static let names = allCases.map { "\($0)" }
}
