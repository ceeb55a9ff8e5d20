// An allocator may have functions beside malloc's family: jemalloc's mallocx, tcmalloc's tc_malloc. A small library for
// each allocator books them. Programs test by weak symbols whether such an allocator is there, so its library may be
// preloaded only into a program that is linked with the allocator.

import Glibc
import Symbols
import SystemPackage

/// What to preload into a program: libheapsum.so, the library for an allocator that the program is dynamically linked
/// with, and the one for mappings, if they are to be recorded.
///
/// - Parameter library: libheapsum.so; the others are in the same directory.
/// - Throws: 125 if the library for mappings is missing.
func preloadedLibraries(
    _ library: FilePath, for program: FilePath?, mappings: Bool
) throws(LaunchError) -> [FilePath] {
    let forAllocator = program.flatMap { allocatorLibrary(for: $0, beside: library) }
    guard mappings else { return [library, forAllocator].compactMap { $0 } }
    return [library, forAllocator, try mappingsLibrary(beside: library)].compactMap { $0 }
}

/// The library for mappings.
///
/// - Throws: 125 if it is missing.
package func mappingsLibrary(beside library: FilePath) throws(LaunchError) -> FilePath {
    let path = library.removingLastComponent().appending("libheapsum-mappings.so")
    guard path.isAccessible(R_OK) else {
        throw .own("--mappings needs \(path.text): \(errnoText(errno)); `make library` builds it")
    }
    return path
}

private func allocatorLibrary(for program: FilePath, beside library: FilePath) -> FilePath? {
    let known = [
        (allocator: "libjemalloc.so", name: "libheapsum-jemalloc.so"),
        (allocator: "libtcmalloc", name: "libheapsum-tcmalloc.so"),
    ]
    .map { (allocator: $0.allocator, own: library.removingLastComponent().appending($0.name)) }
    .filter { $0.own.isAccessible(R_OK) }
    if known.isEmpty { return nil }
    func own(for object: FilePath) -> FilePath? {
        guard let name = object.lastComponent?.text else { return nil }
        return known.first { name.hasPrefix($0.allocator) }?.own
    }
    // A process has one allocator.
    guard
        let object = linkedObject(
            of: program, preloaded: variable("LD_PRELOAD"), libraryPath: variable("LD_LIBRARY_PATH"),
            where: { own(for: $0) != nil }),
        let own = own(for: object),
        // If the allocator has another version or its own names (je_mallocx), some functions of our library would have
        // no next one.
        let wanted = exportedNames(own), let offered = exportedNames(object), wanted.isSubset(of: offered)
    else { return nil }
    return own
}

private func exportedNames(_ path: FilePath) -> Set<String>? {
    guard let listing = try? SymbolListing(path: path.text) else { return nil }
    var names: Set<String> = []
    for symbol in listing.symbols where symbol.type == UInt8(ascii: "T") || symbol.type == UInt8(ascii: "W") {
        var name: [UInt8] = []
        listing.appendName(of: symbol, to: &name)
        names.insert(String(decoding: name, as: UTF8.self))
    }
    return names
}
