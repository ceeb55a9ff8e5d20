// Takes samples: reads the current state from /proc and /sys. It only reads: it sends no signal, traces nobody, and
// writes only its own samples. A process that ends meanwhile is not in the sample. What this kernel doesn't have, or
// doesn't let this user read, is reported once and is unknown in the samples.

import Glibc
import SystemPackage

/// Which processes are watched.
package struct Selection: Sendable {
    package var pids: [Int64] = []
    /// Shell patterns for names: the kernel's name, or the base name of the command line's first word.
    package var names: [String] = []
    /// Whether descendants of the chosen processes are watched, too.
    package var withChildren = false
    package var isAll: Bool { pids.isEmpty && names.isEmpty }

    package init(pids: [Int64] = [], names: [String] = [], withChildren: Bool = false) {
        (self.pids, self.names, self.withChildren) = (pids, names, withChildren)
    }
}

package struct GatherOptions: Sendable {
    /// The directory that contains /proc and /sys; empty for this machine.
    package var root = ""
    package var selection = Selection()
    /// Control groups, by their paths below the hierarchy.
    package var groups: [String] = []
    /// Whether to read proportional set sizes, for which the kernel walks all of a process's pages.
    package var proportional = false

    package init() {}
}

/// Sources that were requested and are missing, each reported once.
package struct Missing: Equatable, Sendable {
    package var what: String
    package var reason: String
    package var text: String { "\(what): \(reason)" }
}

package final class Gatherer {
    let options: GatherOptions
    let files: ProcText
    /// The machine's columns; new ones are added when the kernel shows more.
    var systemColumns: [String] = []
    var systemIndex: [String: Int] = [:]
    var systemValues: [Int64] = []
    var groupColumns: [String] = []
    var groupIndex: [String: Int] = [:]
    /// What is known about a process while it exists: values that are expensive to read and don't change.
    var known: [String: KnownProcess] = [:]
    /// The processes given by --pid, with what identifies a successor.
    var followed: [Followed] = []
    /// Whether the kernel can reclaim a slab cache, by its name; read once.
    var reclaimable: [String: Int64] = [:]
    /// For this sample: where tmpfs is mounted, the files in memory, and the processes attached to System V segments.
    var memoryMounts: [(path: String, device: UInt64)] = []
    var memoryFiles: [MemoryFile.Key: MemoryFile] = [:]
    /// The bytes of heapsum's own images on each mount.
    var imageBytes: [UInt64: Int64] = [:]
    var segmentHolders: [Int64: Set<String>] = [:]
    /// What kmemleak suspects.
    var suspects = SuspectedObjects()
    private var told: Set<String> = []
    private var missing: [Missing] = []

    package init(_ options: GatherOptions) {
        self.options = options
        files = ProcText(root: options.root)
        followed = options.selection.pids.map { Followed(pid: $0) }
    }

    /// What was found missing since the last call.
    package func takeMissing() -> [Missing] {
        defer { missing = [] }
        return missing
    }

    /// The kernel's records of new kmemleak suspects since the last call.
    package func takeSuspects() -> [UInt8] { suspects.takeFresh() }

    func miss(_ what: String, _ reason: String) {
        if told.insert(what).inserted { missing.append(Missing(what: what, reason: reason)) }
    }

    func miss(_ what: String, _ error: Errno) {
        switch error {
        case .noSuchFileOrDirectory: miss(what, "not there on this kernel")
        case .permissionDenied, .notPermitted: miss(what, "not readable by this user; root may")
        default: miss(what, "\(error)")
        }
    }

    /// - Parameter bootMilliseconds: the time of the sample, since the machine's start.
    package func sample(at bootMilliseconds: Int64, occasion: Occasion = .interval) -> Sample {
        systemValues = [Int64](repeating: Sample.unknown, count: systemColumns.count)
        gatherMemory()
        gatherLoad()
        gatherPressure()
        findMemoryMounts()
        segmentHolders = [:]
        var sockets = gatherSockets()
        var entities = gatherProcesses(&sockets)
        set("sockets.unownedReceiveQueue", sockets.unowned(\.receive))
        set("sockets.unownedSendQueue", sockets.unowned(\.send))
        entities += gatherSlabs()
        entities += gatherGroups()
        entities += gatherShared()
        if options.root.isEmpty { gatherOwnCost() }
        entities.insert(EntitySample(kind: .system, id: "", name: "system", values: systemValues), at: 0)
        return Sample(
            bootMilliseconds: bootMilliseconds, occasion: occasion, systemColumns: systemColumns,
            groupColumns: groupColumns, entities: entities)
    }

    /// Sets a column of the machine; a new one is added.
    func set(_ name: String, _ value: Int64) {
        if let index = systemIndex[name] {
            systemValues[index] = max(value, Sample.unknown)
        } else if systemColumns.count < 20_000 {
            systemIndex[name] = systemColumns.count
            systemColumns.append(name)
            systemValues.append(max(value, Sample.unknown))
        } else {
            miss("some of the kernel's counters", "more than 20,000 names")
        }
    }

    func add(_ name: String, _ value: Int64) {
        let before = systemIndex[name].map { systemValues[$0] } ?? Sample.unknown
        let (sum, overflow) = max(before, 0).addingReportingOverflow(max(value, 0))
        set(name, overflow ? .max : sum)
    }
}
