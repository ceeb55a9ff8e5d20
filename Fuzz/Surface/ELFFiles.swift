// ELF files, as gensyms lists them and heapsum looks addresses up in them.

import Symbols

func readELF(_ path: String) {
    do throws(SymbolsError) {
        let module = try ModuleSymbols(path: path, expectedBuildID: nil)
        // All over the address space, in steps that meet small files' code: 0x1000, 0x1010, …
        for page: UInt64 in [0, 1, 2, 3, 4, 0x400, 0x401] {
            for offset: UInt64 in stride(from: 0, to: 0x1000, by: 0x50) { _ = module.name(at: page << 12 + offset) }
        }
        _ = (module.name(at: .max), module.name(at: 1 << 63))
    } catch { _ = "\(error)" }
    do throws(SymbolsError) {
        var listing = try SymbolListing(path: path)
        var name: [UInt8] = []
        for order in SymbolListing.Order.allCases {
            listing.sort(by: order)
            for symbol in listing.symbols {
                name.removeAll(keepingCapacity: true)
                listing.appendName(of: symbol, to: &name)
            }
        }
    } catch { _ = "\(error)" }
}
