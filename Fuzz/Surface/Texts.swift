// Text from outside: logs of other tools, as heapsum reduces them, symbol listings, as --symbols reads them, maps and
// jitdump files of JIT compilers, and what others gathered of a machine, as heapwatch imports it.

import Logs
import Reduce
import Symbols
import Watch

func readLog(_ path: String) {
    do {
        let stream = try LogStream(path: path)
        guard let kind = LogKind(head: try stream.peek(1 << 16)) else { return }
        _ = try Reduction().add(stream, kind: kind, set: .last, workers: 1)
    } catch { _ = "\(error)" }
}

func readJITCode(_ path: String) {
    do throws(SymbolsError) {
        let code = try JITCode(path: path)
        for address in stride(from: UInt64(0), to: 0x4000, by: 0x50) {
            _ = (code.answer(at: address), code.answer(at: address, during: 1_000_000_000 ... 200_000_000_000))
        }
        _ = code.answer(at: .max)
    } catch { _ = "\(error)" }
}

func readListing(_ path: String) {
    do throws(SymbolsError) {
        let list = try SymbolList(path: path, module: nil)
        for address in stride(from: UInt64(0), to: 0x4000, by: 0x50) { _ = list.name(at: address, inModule: path) }
        _ = list.name(at: .max, inModule: path)
    } catch { _ = "\(error)" }
}

func readGathered(_ path: String) {
    var options = ImportOptions()
    (options.intervalMilliseconds, options.start) = (60_000, 1_700_000_000_000)
    do throws(WatchError) { _ = try Import(options).parse(path) } catch { _ = "\(error)" }
}
