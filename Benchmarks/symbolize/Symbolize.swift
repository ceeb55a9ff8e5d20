// symbolize: names for a list of addresses, by the same code as heapsum's, for the benchmarks to compare
// with eu-addr2line on the same list. Prints each address's functions, with file and line where those are
// known, the innermost first.

import ArgumentParser
import Glibc
import Symbols
import Text

@main
struct Symbolize: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "symbolize",
        abstract: "Names the addresses of standard input: a line each, MODULE and hexadecimal ADDRESS.",
        discussion: "EXAMPLE\n  echo /bin/sh 0x5000 | symbolize")

    @Flag(help: "Read no DWARF.")
    var noLines = false

    @Flag(help: "Print each address before its names.")
    var printAddresses = false

    func run() throws {
        let symbolizer = Symbolizer(hasLines: !noLines)
        var order: [String] = []
        var addresses: [String: [UInt64]] = [:]
        while let line = readLine() {
            guard let space = line.lastIndex(of: " "),
                let address = UInt64(line[line.index(after: space)...].dropFirst(2), radix: 16)
            else {
                throw ValidationError("'\(line)' is not a module and an address.")
            }
            let module = String(line[..<space])
            if addresses[module] == nil { order.append(module) }
            addresses[module, default: []].append(address)
        }
        var out: [UInt8] = []
        for module in order {
            let own = addresses[module] ?? []
            let names = try symbolizer.module(path: module, buildID: nil)
            for (address, calls) in zip(own, names.calls(at: own)) {
                if printAddresses { out += "0x\(String(address, radix: 16))\n".utf8 }
                let symbol = names.name(at: address).map { symbolizer.demangle($0.name) }
                if calls.isEmpty { out += "\(symbol ?? "??")\n??:0\n".utf8 }
                for (index, call) in calls.enumerated() {
                    let function =
                        index == calls.count - 1
                        ? symbol ?? call.function.map(symbolizer.demangle) : call.function.map(symbolizer.demangle)
                    out += "\(function ?? "??")\n\(call.file ?? "??"):\(call.line ?? 0)\n".utf8
                }
            }
        }
        for note in symbolizer.notes { out += "note: \(note)\n".utf8 }
        var rest = out[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
