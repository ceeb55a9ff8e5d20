// Firefox Profiler's processed format (https://profiler.firefox.com), in version 57, which newer versions of that
// program read. Native allocations have the blocks' addresses, so "Retained Memory" works, also for a part of the time:
// an allocation for each live block, at the time when it was made. Blocks that were freed are not recorded one by one,
// and are not in it. The live bytes over time are a memory track, and marks are markers.
//
// Invariant: allocations are in the order of time, because the viewer searches a range by bisection.

import HeapImage
import Reduce
import Text

extension MachineReport {
    func writeFirefox(to out: TextOutput) throws {
        let (input, image, census) = try requireOneImage(.firefox)
        var profile = FirefoxProfile(self)
        // Numbers of stacks by their rows' nodes.
        var stacks: [UInt32: Int?] = [:]
        for row in selection.rows where row.blocks > 0 {
            stacks.updateValue(profile.stack(entries(row)), forKey: row.node)
        }
        let allocations = FirefoxAllocations(self, stacks, momentNanoseconds: census.momentNanoseconds)
        try profile.write(
            input: input, image: image, moment: Double(census.momentNanoseconds) / 1e6, allocations, to: out)
    }
}

/// The live blocks, by time.
private struct FirefoxAllocations {
    struct Allocation {
        /// Since the recording's start.
        var milliseconds: Double
        var address: UInt64
        var bytes: UInt64
        /// nil: the stack has no frames.
        var stack: Int?
    }
    private(set) var all: [Allocation] = []

    /// - Complexity: O(n log n) in blocks; 32 bytes of memory each.
    init(_ report: MachineReport, _ stacks: [UInt32: Int?], momentNanoseconds: UInt64) {
        let moment = Double(momentNanoseconds) / 1e6, reduction = report.reduction
        reduction.forEachLiveBlock(passing: report.selection.blocks) { block, row, ageSeconds, weight in
            guard let stack = stacks[reduction.rows[row].node] else { return }
            all.append(
                Allocation(
                    milliseconds: max(0, moment - ageSeconds * 1000), address: block.address, bytes: weight.bytes,
                    stack: stack))
        }
        all.sort { ($0.milliseconds, $0.address) < ($1.milliseconds, $1.address) }
    }
}

private struct FirefoxProfile {
    private struct Function: Hashable { var name: Int, resource: Int, file: Int? }
    private struct Symbol: Hashable { var library: Int, address: UInt64, name: Int }
    private struct Place: Hashable {
        /// In the module's file; nil: not in a file.
        var address: UInt64?
        var depth: Int, function: Int, symbol: Int?, line: Int?
    }
    private struct Stack: Hashable { var frame: Int, prefix: Int? }

    private let report: MachineReport
    private var strings = Numbering<String>(), functions = Numbering<Function>(), frames = Numbering<Place>()
    private var stackNumbers = Numbering<Stack>(), symbols = Numbering<Symbol>()
    /// Modules; a resource and a library each.
    private var libraries = Numbering<UInt32>()

    init(_ report: MachineReport) { self.report = report }

    /// The number of a stack, whose frames come innermost first; nil for no frames.
    mutating func stack(_ entries: [NamedFrame]) -> Int? {
        var prefix: Int?
        // How many functions in a row are of one address: inlined functions are deeper than the one that they are in.
        var depth = 0
        for (place, entry) in entries.enumerated().reversed() {
            let isSame =
                place + 1 < entries.count && entry.inlined == true
                && entries[place + 1].frame == entry.frame
            depth = isSame ? depth + 1 : 0
            prefix = stackNumbers.number(of: Stack(frame: frame(entry, depth), prefix: prefix))
        }
        return prefix
    }

    private mutating func frame(_ entry: NamedFrame, _ depth: Int) -> Int {
        let module = report.reduction.modules[Int(entry.frame.module)]
        let name = strings.number(of: entry.functionText)
        let library = module.isFile ? libraries.number(of: entry.frame.module) : nil
        let function = functions.number(
            of: Function(
                name: name, resource: library ?? -1, file: entry.file.map { strings.number(of: printable($0)) }))
        var symbol: Int?
        if let library, let offset = entry.symbolOffset, entry.function != nil, offset <= entry.frame.offset {
            symbol = symbols.number(of: Symbol(library: library, address: entry.frame.offset - offset, name: name))
        }
        // As the viewer wants it: inside the call, not behind it.
        let address = library != nil && entry.frame.offset > 0 ? entry.frame.offset - 1 : nil
        return frames.number(
            of: Place(address: address, depth: depth, function: function, symbol: symbol, line: entry.line))
    }

    // MARK: Writing

    mutating func write(
        input: Input, image: HeapImage, moment: Double, _ allocations: FirefoxAllocations, to out: TextOutput
    ) throws {
        let marks = image.marks().map { (name: strings.number(of: printable($0.name)), mark: $0) }
        // The moment of a program whose end nobody saw is that of its last event, which may be before its last mark.
        let end = max(moment, Double(marks.map(\.mark.nanoseconds).max() ?? 0) / 1e6)
        let nowhere = allocations.all.isEmpty ? nil : stack([Self.noFrames])
        let libraryNames = libraries.values.map { number in
            strings.number(of: printable(report.reduction.modules[Int(number)].baseName))
        }
        let program = jsonString(printable(image.programName)), pid = input.processID ?? image.header.pid
        try out.write(
            "{\"meta\":{\"interval\":1,\"startTime\":\(Double(image.header.started_realtime_ns) / 1e6),"
                + "\"profilingStartTime\":0,\"profilingEndTime\":\(end),\"processType\":0,"
                + "\"product\":\(program),\"importedFrom\":\(jsonString("heapsum \(version)")),\"stackwalk\":1,"
                + "\"version\":31,\"preprocessedProfileVersion\":57,\"symbolicated\":true,"
                + "\"usesOnlyOneStackType\":true,\"sourceCodeIsNotOnSearchfox\":true,"
                + "\"categories\":[{\"name\":\"Other\",\"color\":\"grey\",\"subcategories\":[\"Other\"]}],"
                + "\"markerSchema\":[{\"name\":\"mark\",\"display\":[\"marker-chart\",\"marker-table\","
                + "\"timeline-overview\"],\"fields\":[]}]},\n\"libs\":[")
        for (place, number) in libraries.values.enumerated() {
            try out.write((place == 0 ? "\n " : ",\n ") + library(report.reduction.modules[Int(number)]))
        }
        try out.write("],\n\"pages\":[],\n")
        try writeCounter(image, moment, pid, to: out)
        try out.write(
            "\"threads\":[{\"processType\":\"default\",\"processStartupTime\":0,\"processShutdownTime\":null,"
                + "\"registerTime\":0,\"unregisterTime\":null,\"pausedRanges\":[],\"name\":\(program),"
                + "\"processName\":\(program),\"isMainThread\":true,\"pid\":\"\(pid)\",\"tid\":\(pid),\n"
                + "\"samples\":{\"weightType\":\"samples\",\"weight\":null,\"eventDelay\":[],\"stack\":[],\"time\":[],"
                + "\"length\":0},\n\"markers\":{")
        try write("data", marks.map { _ in "{\"type\":\"mark\"}" }, to: out)
        try write("name", marks.map { "\($0.name)" }, to: out)
        try write("startTime", marks.map { "\(Double($0.mark.nanoseconds) / 1e6)" }, to: out)
        try write("endTime", marks.map { _ in "null" }, to: out)
        try write("phase", marks.map { _ in "0" }, to: out)
        try write("category", marks.map { _ in "0" }, to: out)
        try out.write("\"length\":\(marks.count)},\n\"nativeAllocations\":{")
        let all = allocations.all
        try write("time", all.lazy.map { "\($0.milliseconds)" }, to: out)
        try write("weight", all.lazy.map { "\($0.bytes)" }, to: out)
        try out.write("\"weightType\":\"bytes\",")
        try write("stack", all.lazy.map { Self.text($0.stack ?? nowhere) }, to: out)
        try write("memoryAddress", all.lazy.map { "\($0.address)" }, to: out)
        try write("threadId", all.lazy.map { _ in "\(pid)" }, to: out)
        try out.write("\"length\":\(all.count)},\n")
        try writeTables(libraryNames, to: out)
        try out.write("}],\n\"shared\":{\"stringArray\":[")
        for (place, text) in strings.values.enumerated() { try out.write((place == 0 ? "" : ",\n") + jsonString(text)) }
        try out.write("]}}\n")
    }

    private static let noFrames: NamedFrame = {
        var frame = NamedFrame(frame: Frame(module: SpecialModule.named, offset: .max))
        frame.function = "(no frames)"
        return frame
    }()

    private func writeTables(_ libraryNames: [Int], to out: TextOutput) throws {
        try out.write("\"stackTable\":{")
        try write("frame", stackNumbers.values.lazy.map { "\($0.frame)" }, to: out)
        try write("prefix", stackNumbers.values.lazy.map { Self.text($0.prefix) }, to: out)
        try out.write("\"length\":\(stackNumbers.values.count)},\n\"frameTable\":{")
        let frames = frames.values
        try write("address", frames.lazy.map { $0.address.map { "\($0)" } ?? "-1" }, to: out)
        try write("inlineDepth", frames.lazy.map { "\($0.depth)" }, to: out)
        try write("category", frames.lazy.map { _ in "0" }, to: out)
        try write("subcategory", frames.lazy.map { _ in "0" }, to: out)
        try write("func", frames.lazy.map { "\($0.function)" }, to: out)
        try write("nativeSymbol", frames.lazy.map { Self.text($0.symbol) }, to: out)
        try write("innerWindowID", frames.lazy.map { _ in "0" }, to: out)
        try write("line", frames.lazy.map { Self.text($0.line) }, to: out)
        try write("column", frames.lazy.map { _ in "null" }, to: out)
        try out.write("\"length\":\(frames.count)},\n\"funcTable\":{")
        let functions = functions.values
        try write("name", functions.lazy.map { "\($0.name)" }, to: out)
        try write("isJS", functions.lazy.map { _ in "false" }, to: out)
        try write("relevantForJS", functions.lazy.map { _ in "false" }, to: out)
        try write("resource", functions.lazy.map { "\($0.resource)" }, to: out)
        try write("fileName", functions.lazy.map { Self.text($0.file) }, to: out)
        try write("lineNumber", functions.lazy.map { _ in "null" }, to: out)
        try write("columnNumber", functions.lazy.map { _ in "null" }, to: out)
        try out.write("\"length\":\(functions.count)},\n\"resourceTable\":{")
        try write("lib", libraryNames.indices.map { "\($0)" }, to: out)
        try write("name", libraryNames.map { "\($0)" }, to: out)
        try write("host", libraryNames.map { _ in "null" }, to: out)
        // 1: a library.
        try write("type", libraryNames.map { _ in "1" }, to: out)
        try out.write("\"length\":\(libraryNames.count)},\n\"nativeSymbols\":{")
        let symbols = symbols.values
        try write("libIndex", symbols.lazy.map { "\($0.library)" }, to: out)
        try write("address", symbols.lazy.map { "\($0.address)" }, to: out)
        try write("name", symbols.lazy.map { "\($0.name)" }, to: out)
        try write("functionSize", symbols.lazy.map { _ in "null" }, to: out)
        try out.write("\"length\":\(symbols.count)}")
    }

    /// The live bytes over time, as steps from one sample to the next.
    private func writeCounter(_ image: HeapImage, _ moment: Double, _ pid: UInt32, to out: TextOutput) throws {
        var samples = image.timeline().map { (Double($0.nanoseconds) / 1e6, $0.liveBytes) }.filter { $0.0 < moment }
        samples.append((moment, report.reduction.totals.liveBytes))
        try out.write(
            "\"counters\":[{\"name\":\"malloc\",\"category\":\"Memory\",\"description\":\"Live bytes\","
                + "\"pid\":\"\(pid)\",\"mainThreadIndex\":0,\"samples\":{")
        try write("time", samples.map { "\($0.0)" }, to: out)
        var last: UInt64 = 0
        try write(
            "count",
            samples.map { sample in
                defer { last = sample.1 }
                return "\(Int64(clamping: sample.1) - Int64(clamping: last))"
            }, to: out)
        try out.write("\"length\":\(samples.count)}}],\n")
    }

    private func write(_ name: String, _ values: some Sequence<String>, to out: TextOutput) throws {
        try out.write("\"\(name)\":[")
        var isFirst = true
        for value in values {
            try out.write(isFirst ? value : "," + value)
            isFirst = false
        }
        try out.write("],")
    }

    private static func text(_ number: Int?) -> String { number.map { "\($0)" } ?? "null" }

    private func library(_ module: ReducedModule) -> String {
        let name = jsonString(printable(module.baseName)), path = jsonString(printable(pathText(module.path)))
        let buildID = module.buildID.isEmpty ? "null" : "\"\(hexadecimal(module.buildID))\""
        return "{\"arch\":\"\",\"name\":\(name),\"path\":\(path),\"debugName\":\(name),\"debugPath\":\(path),"
            + "\"breakpadId\":\"\(Self.breakpadID(module.buildID))\",\"codeId\":\(buildID)}"
    }

    /// A build-id in the form that symbol servers of Mozilla use: its first 16 bytes as a GUID, whose first three
    /// numbers have the other byte order, and a 0.
    private static func breakpadID(_ buildID: [UInt8]) -> String {
        guard !buildID.isEmpty else { return "" }
        let bytes = Array((buildID + [UInt8](repeating: 0, count: 16)).prefix(16))
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
        return hexadecimal(order.map { bytes[$0] }).uppercased() + "0"
    }
}
