// Standard output in large writes, and the two forms of a listing. Text is made without a String for each symbol,
// because a library has hundreds of thousands. Bytes of names that a terminal would obey are written as \xNN, because
// anybody may have made the files.

import Glibc
import Symbols
import SystemPackage
import Text

struct Output {
    /// Shows names demangled, if there is a demangler.
    private let demangler: Demangler?
    private var bytes: [UInt8] = []
    private var scratch: [UInt8] = []

    init(demangler: Demangler?) { self.demangler = demangler }

    mutating func append(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    mutating func flush() {
        bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let wrote = write(STDOUT_FILENO, buffer.baseAddress?.advanced(by: done), buffer.count - done)
                if wrote < 0 {
                    if errno == EINTR { continue }
                    let error = OutputError(path: "standard output", errno: Errno(rawValue: errno))
                    if !error.isClosedReader { printMessage("\(error)") }
                    exit(unwritableStatus)
                }
                done += wrote
            }
        }
        bytes.removeAll(keepingCapacity: true)
    }

    private mutating func flushIfLarge() {
        if bytes.count >= 1 << 18 { flush() }
    }

    // MARK: Text

    mutating func appendText(_ listing: SymbolListing, bySource: Bool) {
        guard bySource else {
            for symbol in listing.symbols { appendLine(symbol, listing) }
            return
        }
        var groups = Array(repeating: [Int](), count: listing.sources.count + 1)
        for (index, symbol) in listing.symbols.enumerated() {
            groups[symbol.source.map { $0 + 1 } ?? 0].append(index)
        }
        for (group, members) in groups.enumerated() where !members.isEmpty {
            if group > 0 {
                append("Src: ")
                appendPrintable(listing.sources[group - 1].utf8)
                append("\n")
            }
            for index in members { appendLine(listing.symbols[index], listing) }
        }
    }

    private mutating func appendLine(_ symbol: ListedSymbol, _ listing: SymbolListing) {
        appendHexadecimal(symbol.address, digits: 16)
        bytes.append(UInt8(ascii: " "))
        bytes.append(symbol.type)
        bytes.append(UInt8(ascii: " "))
        withName(symbol, listing) { $0.appendPrintable($1) }
        bytes.append(UInt8(ascii: " "))
        appendHexadecimal(symbol.byteCount, digits: 1)
        bytes.append(UInt8(ascii: "\n"))
        flushIfLarge()
    }

    private mutating func withName(
        _ symbol: ListedSymbol, _ listing: SymbolListing, _ body: (inout Output, [UInt8]) -> Void
    ) {
        var name: [UInt8] = []
        swap(&name, &scratch) // keeps one buffer alive for all names
        name.removeAll(keepingCapacity: true)
        listing.appendName(of: symbol, to: &name)
        if let demangler { name = Array(demangler.demangle(String(decoding: name, as: UTF8.self)).utf8) }
        body(&self, name)
        swap(&name, &scratch)
    }

    private mutating func appendPrintable(_ name: some Collection<UInt8>) {
        // Beyond ASCII there are control characters too, and characters that turn a line's direction. In a name that
        // is not UTF-8, all bytes beyond ASCII are escaped.
        let text = name.contains { $0 >= 0x80 } ? String(validating: name, as: UTF8.self) : nil
        if let text {
            for scalar in text.unicodeScalars {
                if scalar.value < 0x80 {
                    appendPrintable(CollectionOfOne(UInt8(scalar.value)))
                } else {
                    append(printable(String(scalar)))
                }
            }
            return
        }
        for byte in name {
            if byte < 0x20 || byte >= 0x7F {
                append("\\x")
                appendHexadecimal(UInt64(byte), digits: 2)
            } else {
                bytes.append(byte)
            }
        }
    }

    private mutating func appendHexadecimal(_ value: UInt64, digits: Int) {
        let used = (64 - value.leadingZeroBitCount + 3) / 4
        for place in stride(from: max(digits, used) - 1, through: 0, by: -1) {
            bytes.append(hexadecimalDigit(place < 16 ? UInt8(truncatingIfNeeded: value >> UInt64(place * 4)) : 0))
        }
    }

    // MARK: JSON

    mutating func appendJSON(_ listing: SymbolListing) {
        append("{\"path\":")
        appendQuoted(listing.path)
        append(",\"buildID\":")
        append(listing.buildID.map { "\"\(hexadecimal($0))\"" } ?? "null")
        append(",\"symbols\":[")
        for (index, symbol) in listing.symbols.enumerated() {
            append(index == 0 ? "\n{\"address\":" : ",\n{\"address\":")
            append(String(symbol.address))
            append(",\"type\":\"")
            bytes.append(symbol.type)
            append("\",\"name\":")
            withName(symbol, listing) { $0.appendQuoted(String(decoding: $1, as: UTF8.self)) }
            append(",\"size\":")
            append(String(symbol.byteCount))
            append(",\"source\":")
            if let source = symbol.source { appendQuoted(listing.sources[source]) } else { append("null") }
            append("}")
            flushIfLarge()
        }
        append("]}")
    }

    private mutating func appendQuoted(_ text: String) { appendJSONString(text, to: &bytes) }
}
