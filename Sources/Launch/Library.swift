// Finds libheapsum.so for this tool, in an installation or a build tree. It must never look in the working directory: a
// preloaded library runs inside the program.

import Glibc
import Proc
import SystemPackage
import Text

/// The library to preload, with an absolute path that LD_PRELOAD can carry.
///
/// HEAPSUM_LIBRARY names it. Without that, it is looked for beside the tool, then in ../lib/heapsum, ../lib, and where
/// `make library` puts it beside SwiftPM's build products.
/// - Parameter tool: the running tool's file, links resolved.
/// - Throws: exit status 125, with all the places that were tried.
package func findLibrary(named: String?, tool: FilePath?) throws(LaunchError) -> FilePath {
    var library: FilePath?
    if let named, !named.isEmpty {
        let path = FilePath(text: named).absolute
        guard path.isAccessible(R_OK) else { throw .own("HEAPSUM_LIBRARY names \(path.text): \(errnoText(errno))") }
        library = path
    } else {
        guard let directory = tool?.removingLastComponent() else {
            throw .own("can't read /proc/self/exe: set HEAPSUM_LIBRARY to libheapsum.so")
        }
        let places = [
            "libheapsum.so", "../lib/heapsum/libheapsum.so", "../lib/libheapsum.so",
            "../../heapsum/lib/heapsum/libheapsum.so",
        ]
        .map { directory.appending($0).lexicallyNormalized() }
        library = places.first { $0.isAccessible(R_OK) }
        if library == nil {
            throw .own(
                "libheapsum.so is not in \(places.map(\.text).joined(separator: ", ")); build it by `make library`, or "
                    + "name it by HEAPSUM_LIBRARY"
            )
        }
    }
    guard let library else { throw .own("libheapsum.so was not found") }
    // Both separate entries of LD_PRELOAD, which has no quoting.
    if library.text.utf8.contains(where: { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: ":") }) {
        throw .own(
            "\(library.text): LD_PRELOAD can't carry a path with a space or a colon; name a copy elsewhere by "
                + "HEAPSUM_LIBRARY"
        )
    }
    return library
}

/// The file of the running tool, links resolved.
package var toolPath: FilePath? { FilePath("/proc/self/exe").real }
