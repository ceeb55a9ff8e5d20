// Finds all libraries that a program is dynamically linked with, direct and indirect, in the way of its loader
// (ld.so(8)): by DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the loader's cache and the default directories. Nothing is run
// and no process is started, because the program that will be recorded, or will replace this process, must find no
// trace of the search.
//
// The files are hostile until checked: each offset is compared with what was read, each size has a bound, and
// unreadable files are skipped.

import Glibc
import Proc
import SystemPackage
import Text

/// The first object, breadth first, that the loader would load with a program and that `isWanted`; not the program
/// itself.
///
/// - Parameters:
///   - preloaded: the value of LD_PRELOAD, which also names objects.
///   - libraryPath: that of LD_LIBRARY_PATH.
/// - Complexity: opens O(objects) files, at most 1,000.
func linkedObject(
    of program: FilePath, preloaded: String?, libraryPath: String?, where isWanted: (FilePath) -> Bool
) -> FilePath? {
    var search = ObjectSearch(libraryPath: libraryPath)
    var found: Set<FilePath> = []
    var open: [(path: FilePath, inherited: [FilePath])] = [(program.absolute, [])]
    func add(_ name: String, _ object: DynamicObject, _ inherited: [FilePath]) {
        guard found.count < 1000, let path = search.find(name, neededBy: object, inherited: inherited),
            found.insert(path).inserted
        else { return }
        open.append((path, object.inheritedPaths(inherited)))
    }
    var next = 0
    while next < open.count {
        let (path, inherited) = open[next]
        next += 1
        if next > 1 && isWanted(path) { return path }
        guard let object = DynamicObject(path) else { continue }
        if next == 1 {
            for name in preloadEntries(preloaded) { add(name, object, inherited) }
        }
        for name in object.needed { add(name, object, inherited) }
    }
    return nil
}

/// What an ELF file's dynamic section says about the objects that it needs.
struct DynamicObject {
    private(set) var needed: [String] = []
    private var rpath: [FilePath] = []
    private(set) var runpath: [FilePath] = []

    /// nil if it is not a 64-bit little-endian ELF file, or has nothing that can be used.
    init?(_ path: FilePath) {
        guard let file = try? openToRead(path, [.nonBlocking]) else { return nil }
        defer { try? file.close() }
        func bytes(_ offset: UInt64, _ count: UInt64, atMost limit: UInt64) -> [UInt8]? {
            try? readBytes(file, at: offset, count: Int(min(count, limit)))
        }
        guard let head = bytes(0, 64, atMost: 64), head.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]),
            let headersAt = head.integer(at: 32, UInt64.self), let size = head.integer(at: 54, UInt16.self), size == 56,
            let count = head.integer(at: 56, UInt16.self),
            let headers = bytes(headersAt, UInt64(count) * 56, atMost: 1 << 16)
        else { return nil }
        var loads: [(address: UInt64, offset: UInt64, size: UInt64)] = []
        var dynamic: [UInt8]?
        for at in stride(from: UInt64(0), to: UInt64(headers.count), by: 56) {
            guard let kind = headers.integer(at: at, UInt32.self),
                let offset = headers.integer(at: at + 8, UInt64.self),
                let address = headers.integer(at: at + 16, UInt64.self),
                let length = headers.integer(at: at + 32, UInt64.self)
            else { break }
            if kind == 1 { loads.append((address, offset, length)) } // PT_LOAD
            if kind == 2 { dynamic = bytes(offset, length, atMost: 1 << 16) } // PT_DYNAMIC
        }
        guard let dynamic else { return nil }
        var names: (address: UInt64, size: UInt64) = (0, 0)
        var entries: [(tag: UInt64, value: UInt64)] = []
        for (tag, value) in dynamicEntries(dynamic) {
            switch tag {
            case 5: names.address = value // DT_STRTAB
            case 10: names.size = value // DT_STRSZ
            case 1, 15, 29: entries.append((tag, value)) // DT_NEEDED, DT_RPATH, DT_RUNPATH
            default: break
            }
        }
        guard let load = loads.first(where: { names.address >= $0.address && names.address - $0.address < $0.size }),
            let text = bytes(load.offset &+ (names.address - load.address), names.size, atMost: 4 << 20)
        else { return nil }
        let origin = path.real?.removingLastComponent().text ?? ""
        for (tag, value) in entries where value < UInt64(text.count) {
            let name = pathText(text[Int(value)...].prefix(4096).prefix { $0 != 0 })
            switch tag {
            case 1: needed.append(name)
            case 15: rpath = Self.directories(name, origin: origin)
            default: runpath = Self.directories(name, origin: origin)
            }
        }
    }

    /// The directories that are searched first by DT_RPATH, the object's own and its loaders'; none if it has a
    /// DT_RUNPATH.
    func inheritedPaths(_ inherited: [FilePath]) -> [FilePath] { runpath.isEmpty ? rpath + inherited : inherited }
    func ownPaths(_ inherited: [FilePath]) -> [FilePath] { runpath.isEmpty ? rpath + inherited : [] }

    private static func directories(_ list: String, origin: String) -> [FilePath] {
        list.split(separator: ":").map { entry in
            FilePath(text: String(entry).replacing("${ORIGIN}", with: origin).replacing("$ORIGIN", with: origin))
        }
    }
}

/// The entries of a dynamic section, up to its end or the end of what was read.
func dynamicEntries(_ bytes: [UInt8]) -> [(tag: UInt64, value: UInt64)] {
    var entries: [(tag: UInt64, value: UInt64)] = []
    for at in stride(from: UInt64(0), to: UInt64(bytes.count), by: 16) {
        guard let tag = bytes.integer(at: at, UInt64.self), let value = bytes.integer(at: at + 8, UInt64.self), tag != 0
        else { break } // DT_NULL
        entries.append((tag, value))
    }
    return entries
}

/// Finds objects by name, as the loader does.
private struct ObjectSearch {
    private let listed: [FilePath] // in LD_LIBRARY_PATH
    private lazy var cache = LoaderCache(file: "/etc/ld.so.cache")
    private static let defaults: [FilePath] = {
        #if arch(x86_64)
            let triplet = "x86_64-linux-gnu"
        #else
            let triplet = "aarch64-linux-gnu"
        #endif
        return ["/lib/\(triplet)", "/usr/lib/\(triplet)", "/lib64", "/usr/lib64", "/lib", "/usr/lib"].map {
            FilePath(text: $0)
        }
    }()

    init(libraryPath: String?) {
        listed = (libraryPath ?? "").split(whereSeparator: { $0 == ":" || $0 == ";" }).map {
            FilePath(text: String($0))
        }
    }

    mutating func find(_ name: String, neededBy object: DynamicObject, inherited: [FilePath]) -> FilePath? {
        func isThere(_ path: FilePath) -> Bool { path.isAccessible(R_OK) }
        if name.utf8.contains(UInt8(ascii: "/")) { return isThere(FilePath(text: name)) ? FilePath(text: name) : nil }
        guard let file = FilePath(text: name).lastComponent else { return nil }
        for directory in object.ownPaths(inherited) + listed + object.runpath {
            let path = directory.appending(file)
            if isThere(path) { return path }
        }
        if let path = cache.path(of: name), isThere(path) { return path }
        return Self.defaults.lazy.map { $0.appending(file) }.first(where: isThere)
    }
}

/// The loader's cache of libraries by name: the format "glibc-ld.so.cache1.1" of ldconfig, which may follow an older
/// one.
struct LoaderCache {
    private var paths: [String: FilePath] = [:]

    init(file: FilePath) { self.init((try? readBytes(file, limit: 16 << 20)) ?? []) }

    init(_ bytes: [UInt8]) {
        let magic = Array("glibc-ld.so.cache1.1".utf8)
        guard let start = bytes.firstRange(of: magic)?.lowerBound,
            let count = bytes.integer(at: UInt64(start) + 20, UInt32.self)
        else { return }
        func text(_ offset: UInt32) -> String? {
            let at = start + Int(offset)
            guard at < bytes.count else { return nil }
            return pathText(bytes[at...].prefix(4096).prefix { $0 != 0 })
        }
        #if arch(x86_64)
            let kind: UInt32 = 0x0303 // of glibc, for x86-64
        #else
            let kind: UInt32 = 0x0A03
        #endif
        for number in 0 ..< UInt64(count) {
            let at = UInt64(start) + 48 + number * 24
            guard let flags = bytes.integer(at: at, UInt32.self), let key = bytes.integer(at: at + 4, UInt32.self),
                let value = bytes.integer(at: at + 8, UInt32.self)
            else { return }
            // The first of several is for the best processor. All have the same names, so it does not matter which one
            // is used.
            if flags == kind, let name = text(key), paths[name] == nil {
                paths[name] = text(value).map { FilePath(text: $0) }
            }
        }
    }

    func path(of name: String) -> FilePath? { paths[name] }
}
