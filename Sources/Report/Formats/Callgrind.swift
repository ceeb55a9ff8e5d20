// callgrind's profile format, version 1, for callgrind_annotate and KCachegrind:
// https://valgrind.org/docs/manual/cl-format.html.
//
// A row's values are the self cost of the allocating function, and the inclusive cost of each call on the way to it.
// All stacks begin in one artificial function, so that every other function is called: readers compute a function's
// inclusive cost from calls to it.
//
// Invariant: for one stack, each function's inclusive cost is booked once, at its outermost call. Recursive calls
// further in are written with cost 0. Numbers of calls are not recorded; instead the number of blocks is written:
// allocated ones, or live ones if nothing else is known.

import Reduce
import Text

/// A function, as this format distinguishes them; the fields are numbers of names.
private struct CalledFunction: Hashable {
    var object: Int, file: Int, name: Int
}

private struct Call: Hashable {
    var line: Int, callee: Int
}

private struct Cost {
    var values: [UInt64]
    var calls: UInt64 = 0
}

/// Names by number: the first use is written as `(3) name`, later ones as `(3)`.
private struct NameTable {
    private var numbers: [String: Int] = [:]
    private var names: [String] = []
    private var isWritten: [Bool] = []

    mutating func number(_ name: String) -> Int {
        if let number = numbers[name] { return number }
        numbers[name] = names.count
        names.append(name)
        isWritten.append(false)
        return names.count - 1
    }

    mutating func text(_ number: Int) -> String {
        if isWritten[number] { return "(\(number + 1))" }
        isWritten[number] = true
        return "(\(number + 1)) \(names[number])"
    }
}

private struct CallGraph {
    let quantities: [Quantity]
    var objects = NameTable(), files = NameTable(), names = NameTable()
    private(set) var functions: [CalledFunction] = []
    private var numbers: [CalledFunction: Int] = [:]
    /// By function: own cost by line, and calls.
    private(set) var own: [[Int: Cost]] = []
    private(set) var calls: [[Call: Cost]] = []
    private let root: Int

    init(quantities: [Quantity]) {
        self.quantities = quantities
        functions = [
            CalledFunction(object: objects.number("???"), file: files.number("???"), name: names.number("(all stacks)"))
        ]
        (own, calls, root) = ([[:]], [[:]], 0)
    }

    private mutating func number(_ frame: NamedFrame) -> Int {
        // callgrind's form for something unknown.
        let function = CalledFunction(
            object: objects.number(frame.modulePath.map(printable) ?? "???"),
            file: files.number(frame.file.map(printable) ?? "???"),
            name: names.number(frame.functionText))
        if let number = numbers[function] { return number }
        numbers[function] = functions.count
        functions.append(function)
        own.append([:])
        calls.append([:])
        return functions.count - 1
    }

    /// Books a row, whose frames are innermost first.
    mutating func add(_ row: Row, _ entries: [NamedFrame]) {
        let values = quantities.map { $0.value(row) }
        let blocks = row.history?.allocatedBlocks ?? row.blocks
        var caller = root, line = 0
        var seen: Set<Int> = [root]
        for entry in entries.reversed() {
            let callee = number(entry)
            let isFirst = seen.insert(callee).inserted
            var cost = calls[caller][Call(line: line, callee: callee)] ?? Cost(values: values.map { _ in 0 })
            if isFirst { cost.add(values) }
            cost.calls &+= max(blocks, 1)
            calls[caller][Call(line: line, callee: callee)] = cost
            (caller, line) = (callee, entry.line ?? 0)
        }
        own[caller][line, default: Cost(values: values.map { _ in 0 })].add(values)
    }
}

extension Cost {
    mutating func add(_ more: [UInt64]) {
        for index in values.indices { values[index] &+= more[index] }
    }

    var text: String { values.map { "\($0)" }.joined(separator: " ") }
}

extension MachineReport {
    func writeCallgrind(to out: TextOutput) throws {
        try requireKnown(quantity)
        // The first event is what readers sort by.
        let quantities = [quantity] + known.filter { $0 != quantity }
        var graph = CallGraph(quantities: quantities)
        for row in selection.rows where quantities.contains(where: { $0.value(row) > 0 }) {
            graph.add(row, entries(row))
        }

        try out.write("# callgrind format\nversion: 1\ncreator: heapsum \(version)\n")
        if let input = reduction.inputs.first, reduction.inputs.count == 1 {
            if let pid = input.processID { try out.write("pid: \(pid)\n") }
            if let program = input.program { try out.write("cmd: \(shellWord(program))\n") }
        }
        for input in reduction.inputs { try out.write("desc: Input: \(printable(input.path))\n") }
        try out.write("positions: line\n")
        for quantity in quantities { try out.write("event: \(quantity.eventName) : \(title(of: quantity))\n") }
        try out.write("events: \(quantities.map(\.eventName).joined(separator: " "))\n")
        let totals = quantities.map { quantity in selection.rows.reduce(UInt64(0)) { $0 &+ quantity.value($1) } }
        try out.write("summary: \(Cost(values: totals).text)\n")

        for (number, function) in graph.functions.enumerated() {
            let own = graph.own[number].sorted { $0.key < $1.key }
            let calls = graph.calls[number].sorted { ($0.key.line, $0.key.callee) < ($1.key.line, $1.key.callee) }
            if own.isEmpty && calls.isEmpty { continue }
            try out.write(
                "\nob=\(graph.objects.text(function.object))\nfl=\(graph.files.text(function.file))\n"
                    + "fn=\(graph.names.text(function.name))\n"
            )
            for (line, cost) in own { try out.write("\(line) \(cost.text)\n") }
            // callgrind's own files have a cost for each function, and callgrind_annotate relies on that.
            if own.isEmpty {
                try out.write("\(calls.first?.key.line ?? 0) \(Cost(values: totals.map { _ in 0 }).text)\n")
            }
            for (call, cost) in calls {
                let callee = graph.functions[call.callee]
                try out.write(
                    "cob=\(graph.objects.text(callee.object))\ncfi=\(graph.files.text(callee.file))\n"
                        + "cfn=\(graph.names.text(callee.name))\n"
                )
                try out.write("calls=\(cost.calls) 0\n\(call.line) \(cost.text)\n")
            }
        }
        try out.write("\ntotals: \(Cost(values: totals).text)\n")
    }
}

extension Quantity {
    /// A name with a capital letter, like callgrind's own events.
    var eventName: String { name.prefix(1).uppercased() + name.dropFirst() }
}
