// heaptop's table: what it shows, and what its keys do. A key changes the state; drawing only reads it. Other code owns
// the terminal.

import HeapImage
import Report
import Screen
import Text

/// What a key asks the caller to do.
package enum Request: Equatable, Sendable {
    case quit, dump, leaks
}

/// The table's state.
package struct TopScreen {
    package var rows: LiveRows
    package private(set) var sort = LiveSort.live
    package private(set) var pane = Pane.table
    /// The result of the last key, shown until the next key.
    package var message: String?

    private var chosen = 0
    private var chosenGroup: Int?
    private var top = 0
    private var paneTop = 0
    private var pattern = ""
    private var typed: String?
    private var size = ScreenSize(width: 80, height: 24)

    package enum Pane: Equatable, Sendable { case table, stack, help }

    package init(_ rows: LiveRows, sort: LiveSort = .live) {
        self.rows = rows
        self.sort = sort
        self.rows.order(by: sort)
    }

    /// Looks at the program again. The chosen row stays chosen.
    package mutating func look(at seconds: Double) throws {
        try rows.look(at: seconds)
        order()
    }

    private mutating func order() {
        rows.order(by: sort)
        if let chosenGroup, let place = rows.rows.firstIndex(where: { $0.group == chosenGroup }) { chosen = place }
        choose(chosen)
    }

    private mutating func choose(_ place: Int) {
        chosen = max(0, min(place, rows.rows.count - 1))
        chosenGroup = rows.rows.indices.contains(chosen) ? rows.rows[chosen].group : nil
    }

    private var chosenRow: LiveRow? { rows.rows.indices.contains(chosen) ? rows.rows[chosen] : nil }
}

// MARK: - Keys

extension TopScreen {
    /// Handles a key. Returns what the caller must do, if anything.
    package mutating func press(_ key: Key) -> Request? {
        message = nil
        if typed != nil {
            type(key)
            return nil
        }
        switch key {
        case .character("q"), .interrupt: return .quit
        case .character("d"): return .dump
        case .character("l"): return .leaks
        case .character("h"), .character("?"): pane = pane == .help ? .table : .help
        case .escape, .left: pane = .table
        case .enter, .right: pane = pane == .table ? .stack : pane == .stack && key == .enter ? .table : pane
        case .character("/"):
            typed = pattern
            pane = .table
        case .character("s"):
            advance(&sort)
            order()
        case .character("b"):
            advance(&rows.grouping)
            chosenGroup = nil
            order()
        case .character("g"):
            rows.setBaseline()
            order()
            message = "growth counts from now on"
        default: move(key)
        }
        if pane == .table { paneTop = 0 }
        return nil
    }

    private func advance<Value: CaseIterable & Equatable>(_ value: inout Value) where Value.AllCases == [Value] {
        let all = Value.allCases
        value = all[((all.firstIndex(of: value) ?? 0) + 1) % all.count]
    }

    private mutating func move(_ key: Key) {
        let page = max(1, tableHeight - 1)
        let step: Int
        switch key {
        case .up, .character("k"): step = -1
        case .down, .character("j"): step = 1
        case .wheelUp: step = -3
        case .wheelDown: step = 3
        case .pageUp: step = -page
        case .pageDown, .character(" "): step = page
        case .home: step = -rows.rows.count
        case .end, .character("G"): step = rows.rows.count
        case .click(let line):
            if pane == .table, line >= headHeight, top + line - headHeight < rows.rows.count {
                choose(top + line - headHeight)
            }
            return
        default: return
        }
        if pane == .table { choose(chosen + step) } else { paneTop = max(0, paneTop + step) }
    }

    /// Handles a key while the user types a filter expression.
    private mutating func type(_ key: Key) {
        switch key {
        case .enter:
            setFilter(typed ?? "")
            typed = nil
        case .escape, .interrupt: typed = nil
        case .backspace: typed = typed.map { String($0.dropLast()) }
        case .character(let character): typed?.append(character)
        default: break
        }
    }

    private mutating func setFilter(_ text: String) {
        do throws(PatternError) {
            rows.filter = text.isEmpty ? nil : try FrameFilter(include: [text])
            pattern = text
            chosenGroup = nil
            order()
        } catch { message = "\(error)" }
    }
}

// MARK: - Drawing

extension TopScreen {
    private var headHeight: Int { 5 }
    private var tableHeight: Int { max(1, size.height - headHeight - 1) }

    /// All lines of the screen.
    ///
    /// - Complexity: O(stacks) for the curves, and the names of the visible rows
    package mutating func lines(_ size: ScreenSize) -> [ScreenLine] {
        self.size = size
        var lines = head()
        switch pane {
        case .table: lines += table()
        case .stack: lines += stack()
        case .help: lines += Self.help.dropFirst(paneTop).map { ScreenLine($0) }
        }
        lines = Array(lines.prefix(max(0, size.height - 1)))
        lines += Array(repeating: ScreenLine(), count: max(0, size.height - 1 - lines.count))
        lines.append(foot())
        return lines.map { line in
            (size.isUTF8 ? line : line.inASCII).cut(to: size.width)
        }
    }

    private func head() -> [ScreenLine] {
        let heap = rows.heap
        var first = ScreenLine("heaptop", .bold)
        first.append("  \(printable(heap.image.programName))")
        if let pid = heap.processID { first.append(" (PID \(pid))") }
        if heap.isRunning {
            first.append("  recorded for \(shortDuration(heap.upSeconds))", .dim)
        } else {
            first.append("  \(heap.endText); its last state", .warning)
        }

        var second = ScreenLine("live ")
        second.append(shortSize(Double(heap.totals.bytes)), .bold)
        second.append(" in \(shortCount(Double(heap.totals.blocks))) blocks")
        second.append("   peak \(shortSize(Double(heap.peakBytes)))")
        if let resident = heap.residentBytes { second.append("   resident \(shortSize(Double(resident)))") }
        if heap.image.isSampled {
            second.append("   estimates: 1 byte in \(separated(heap.image.sampleInterval))", .warning)
        }
        let lost = heap.image.lostEvents
        if lost > 0 { second.append("   lost \(counted(lost, "allocation"))", .warning) }

        let base = rows.history.baselineSeconds
        let baseline = heap.stacks.indices.reduce(UInt64(0)) { $0 &+ rows.history.atBaseline($1) }
        let growth = Int64(bitPattern: heap.totals.bytes &- baseline), since = rows.seconds - base
        var third = ScreenLine("growth ")
        third.append(signedSize(growth), growth > 0 ? .bold : .plain)
        third.append(" in \(shortDuration(since))")
        if since >= 10 { third.append(" (\(signedSize(Int64(Double(growth) / since * 3600))) an hour)") }
        third.append("   allocating \(shortSize(rows.byteRate))/s in \(shortCount(rows.callRate)) calls/s")

        var fourth = ScreenLine(
            "\(counted(UInt64(rows.rows.count), rows.grouping.rawValue)) by \(sort.title.lowercased())", .dim)
        if !pattern.isEmpty {
            fourth.append("   with /\(printable(pattern))/: \(shortSize(Double(rows.passing.bytes)))", .warning)
        }
        return [first, second, third, fourth]
    }

    /// Which columns fit, and the width of the curve.
    private var curveWidth: Int { size.width < 72 ? 0 : size.width < 110 ? 8 : History.moments }
    private var hasMinute: Bool { size.width >= 90 }

    private mutating func table() -> [ScreenLine] {
        let height = tableHeight
        if chosen < top { top = chosen }
        if chosen >= top + height { top = chosen - height + 1 }
        top = max(0, min(top, max(0, rows.rows.count - height)))
        let shown = rows.rows[min(top, rows.rows.count) ..< min(top + height, rows.rows.count)]
        let curves = curveWidth > 0 ? rows.curves(of: shown) : []
        func heading(_ of: LiveSort, _ width: Int) -> String { leftPadded((of == sort ? ">" : "") + of.title, width) }
        var titles = heading(.live, 9) + heading(.blocks, 9) + heading(.growth, 10)
        if hasMinute { titles += heading(.minute, 10) }
        titles += heading(.rate, 11) + "  "
        if curveWidth > 0 { titles += padded("TREND", curveWidth) + "  " }
        var lines = [ScreenLine(padded(titles + rows.grouping.rawValue.uppercased(), size.width), .reverse)]
        for (place, row) in shown.enumerated() {
            var line = ScreenLine(leftPadded(shortSize(Double(row.counts.bytes)), 9), .bold)
            line.append(leftPadded(shortCount(Double(row.counts.blocks)), 9))
            line.append(leftPadded(signedSize(row.growth), 10), row.growth > 0 ? .warning : .plain)
            if hasMinute { line.append(leftPadded(signedSize(row.minute), 10), row.minute > 0 ? .warning : .plain) }
            line.append(leftPadded(row.byteRate > 0 ? shortSize(row.byteRate) : "0", 11) + "  ")
            if curveWidth > 0 {
                line.append(spark(curves[place] + [row.counts.bytes], width: curveWidth, isUTF8: size.isUTF8) + "  ")
            }
            line.append(printable(rows.label(row)))
            lines.append(top + place == chosen ? line.cut(to: size.width).highlighted(width: size.width) : line)
        }
        if rows.rows.isEmpty {
            lines.append(
                ScreenLine(pattern.isEmpty ? "nothing is live" : "no live block has a matching frame", .dim))
        }
        return lines
    }

    private mutating func stack() -> [ScreenLine] {
        guard let row = chosenRow else { return [ScreenLine("no row is chosen", .dim)] }
        var lines = [ScreenLine(padded("  STACK of " + printable(rows.label(row)), size.width), .reverse)]
        var sums = ScreenLine("  \(separated(row.counts.bytes)) bytes in \(counted(row.counts.blocks, "block"))", .bold)
        sums.append("   \(signedSize(row.growth)) since the baseline, \(signedSize(row.minute)) in the last minute")
        lines.append(sums)
        if rows.grouping != .stack { lines.append(ScreenLine("  its stack that holds the most:", .dim)) }
        let frames = rows.frames(row)
        let height = max(1, tableHeight - lines.count + 1)
        paneTop = max(0, min(paneTop, max(0, frames.count - height)))
        for frame in frames.dropFirst(paneTop).prefix(height) {
            var line = ScreenLine("    " + frame.text(width: max(24, size.width - 34)))
            if !frame.place.isEmpty { line.append("  " + frame.place, .dim) }
            lines.append(line)
        }
        if frames.isEmpty { lines.append(ScreenLine("    no frames", .dim)) }
        return lines
    }

    private func foot() -> ScreenLine {
        if let typed { return ScreenLine("/" + printable(typed) + (size.isUTF8 ? "▏" : "_"), .bold) }
        if let message { return ScreenLine(printable(message), .warning) }
        return ScreenLine(
            pane == .table
                ? "q quit  s sort  b rows  / filter  Enter stack  g baseline  d dump  l leaks  h help"
                : "Esc back  \u{2191}\u{2193} scroll  q quit", .dim)
    }

    private static let help = [
        "", "  arrows, j k, wheel    choose a row; Page Up and Down, Home, End",
        "  Enter                 the whole stack of the chosen row, with source lines",
        "  s                     order by LIVE, BLOCKS, GROWTH, MINUTE, ALLOC/s",
        "  b                     what a row is: a stack, a function, a module",
        "  /                     only stacks with a frame that matches; empty: all again",
        "  g                     GROWTH counts from now on",
        "  d                     write a dump; heapsum reads it",
        "  l                     heapsum leaks: what is lost, and who holds the rest",
        "  q                     quit; the program goes on", "",
        "  LIVE and BLOCKS are what is not freed yet. GROWTH is since heaptop began, or since g; MINUTE",
        "  is the last minute's, and TREND is its curve. ALLOC/s is allocated per second, freed or not.",
    ]
}

extension ScreenLine {
    /// The line for a terminal without UTF-8.
    fileprivate var inASCII: ScreenLine {
        var line = ScreenLine()
        for span in spans {
            let text = span.text.replacing("←", with: "<").replacing("…", with: "~")
                .replacing("\u{2191}\u{2193}", with: "arrows")
            line.append(String(text.map { $0.isASCII ? $0 : "?" }), span.emphasis)
        }
        return line
    }
}
