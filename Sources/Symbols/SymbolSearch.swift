// Finds the files of a module: the module itself (under a --sysroot, if given), and the separate debug file with what
// was stripped from it. A file is used only if it is proved to be the module's: by its build-id, or by the CRC in the
// module if that has no build-id.

import CSymbols
import Glibc
import Proc
import Text

/// The places where symbols are looked for.
package struct SymbolSearch: Sendable {
    /// Directories with the layout of /usr/lib/debug, in order; the system's own comes after them.
    package var debugDirectories: [String]
    /// The root of the tree that the program ran in; empty: this machine's own.
    package var sysroot: String
    /// Root directories of processes that see other files, as /proc/PID/root: a module that is not at its path is
    /// looked for in them.
    package var roots: [String] = []
    /// Asked for debug files that none of the directories has; nil: nobody is asked.
    package var servers: DebugServers?

    package init(debugDirectories: [String] = [], sysroot: String = "", servers: DebugServers? = nil) {
        self.debugDirectories = debugDirectories
        self.servers = servers
        self.sysroot = sysroot == "/" ? "" : sysroot
    }

    private var allDebugDirectories: [String] {
        debugDirectories + ["\(sysroot)/usr/lib/debug"] + roots.map { "\($0)/usr/lib/debug" }
    }

    /// The path of a module's own file.
    func path(of module: String) -> String { sysroot + module }

    /// What `open` makes of a module's own file, or of the first that it accepts in the other roots.
    ///
    /// - Throws: the error for the first.
    func first<Result>(
        of module: String, _ open: (String) throws(SymbolsError) -> Result
    ) throws(SymbolsError) -> Result {
        do throws(SymbolsError) {
            return try open(path(of: module))
        } catch {
            for root in roots {
                if let result = try? open(root + module) { return result }
            }
            throw error
        }
    }

    /// The path for a build-id below a directory of debug files: ".build-id/ab/cdef….debug".
    static func place(ofBuildID buildID: [UInt8], suffix: String = ".debug") -> String? {
        guard buildID.count >= 2 else { return nil }
        return ".build-id/\(hexadecimal([buildID[0]]))/\(hexadecimal(Array(buildID.dropFirst())))\(suffix)"
    }

    /// The first file that is ELF and has the build-id. An existing file that is not right is noted.
    private func first(_ paths: [String], buildID: [UInt8], notes: inout [SymbolsError]) -> ELFFile? {
        for path in paths where path.withPath({ access($0, F_OK) }) == 0 {
            do throws(SymbolsError) {
                let file = try ELFFile(path: path)
                let found = try file.readBuildID()
                if found == buildID { return file }
                throw SymbolsError(file: path, reason: .buildIDDiffers(expected: buildID, found: found ?? []))
            } catch {
                notes.append(error)
            }
        }
        return nil
    }

    /// The separate debug file for a build-id.
    func debugFile(ofBuildID buildID: [UInt8], notes: inout [SymbolsError]) -> ELFFile? {
        guard let place = Self.place(ofBuildID: buildID) else { return nil }
        return first(allDebugDirectories.map { "\($0)/\(place)" }, buildID: buildID, notes: &notes)
    }

    /// The separate debug file that a server has for a build-id of `module`.
    func servedDebugFile(ofBuildID buildID: [UInt8], module: String, notes: inout [SymbolsError]) -> ELFFile? {
        guard let servers, !Self.isVDSO(module), buildID.count >= 2 else { return nil }
        let name = module.split(separator: "/").last.map(String.init) ?? module
        guard let path = servers.path(of: WantedDebugFile(buildID: buildID, module: name)) else { return nil }
        return first([path], buildID: buildID, notes: &notes)
    }

    /// The file with what a debug file shares with others (`dwz -m`): by the build-id in its .gnu_debugaltlink, or in
    /// the place that this names. nil: it shares nothing, or the file is missing, which is noted.
    func sharedFile(
        of debug: ELFFile, module: String, notes: inout [SymbolsError]
    ) throws(SymbolsError) -> ELFFile? {
        guard let index = try debug.section(named: ".gnu_debugaltlink") else { return nil }
        let link = try debug.contents(ofSection: index, ".gnu_debugaltlink")
        // The name, a NUL, and the build-id up to the section's end.
        let name = StringTable(bytes: link).string(at: 0, limit: 4096, cutsVersion: false)
        let start = name.utf8.count + 1
        guard !name.isEmpty, link.count >= start + 2, link.count <= start + 64 else {
            throw debug.reader.damaged(".gnu_debugaltlink without a name and a build-id", at: link.offset)
        }
        let id = link.withSpan { span in
            (start ..< link.count).map { span.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
        }
        let directory = debug.path.lastIndex(of: "/").map { String(debug.path[..<$0]) } ?? "."
        let beside = name.hasPrefix("/") ? path(of: name) : "\(directory)/\(name)"
        if let found = debugFile(ofBuildID: id, notes: &notes) ?? first([beside], buildID: id, notes: &notes)
            ?? servedDebugFile(ofBuildID: id, module: "\(module) (shared part)", notes: &notes)
        {
            return found
        }
        notes.append(
            SymbolsError(
                file: debug.path,
                reason: .unsupported(
                    "what it shares with other files is not there (build-id \(hexadecimal(id))): names of inlined "
                        + "calls are missing")))
        return nil
    }

    /// A copy of the module itself, stored under its build-id.
    func moduleFile(ofBuildID buildID: [UInt8], notes: inout [SymbolsError]) -> ELFFile? {
        guard let place = Self.place(ofBuildID: buildID, suffix: "") else { return nil }
        return first(allDebugDirectories.map { "\($0)/\(place)" }, buildID: buildID, notes: &notes)
    }

    /// The separate debug file that a module's .gnu_debuglink names, in the places where GDB looks.
    ///
    /// Its CRC must be the one in the link. If both have a build-id, these must be equal.
    func debugFile(
        linkedFrom file: ELFFile, buildID: [UInt8]?, notes: inout [SymbolsError]
    ) throws(SymbolsError) -> ELFFile? {
        guard let index = try file.section(named: ".gnu_debuglink") else { return nil }
        let link = try file.contents(ofSection: index, ".gnu_debuglink")
        let names = StringTable(bytes: link)
        let name = names.string(at: 0, limit: 4096, cutsVersion: false)
        // The CRC is at the next multiple of four after the name and its NUL.
        let place = (name.utf8.count + 4) / 4 * 4
        guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: "/")), name != "..", place + 4 <= link.count else {
            throw file.reader.damaged(".gnu_debuglink without a name and a CRC", at: link.offset)
        }
        let wanted = link.withSpan { file.layout.u32($0, place) }
        let slash = file.path.lastIndex(of: "/")
        let directory = slash.map { String(file.path[..<$0]) } ?? "."
        var paths = ["\(directory)/\(name)", "\(directory)/.debug/\(name)"]
        // A debug directory has the module's path as the program saw it, without the sysroot.
        if directory.hasPrefix("/") {
            let inside = directory.hasPrefix(sysroot) ? String(directory.dropFirst(sysroot.count)) : directory
            paths += allDebugDirectories.map { "\($0)\(inside)/\(name)" }
        }
        paths += debugDirectories.map { "\($0)/\(name)" }
        for path in paths where path != file.path && path.withPath({ access($0, F_OK) }) == 0 {
            do throws(SymbolsError) {
                let found = try ELFFile(path: path)
                guard let crc = try Decompression.crc32(of: found.reader) else {
                    throw SymbolsError(
                        file: path, reason: .unsupported("its CRC can't be checked: liblzma.so.5 isn't there"))
                }
                guard crc == wanted else {
                    throw SymbolsError(file: path, reason: .checksumDiffers(expected: wanted, found: crc))
                }
                if let buildID, let other = try found.readBuildID(), other != buildID {
                    throw SymbolsError(file: path, reason: .buildIDDiffers(expected: buildID, found: other))
                }
                return found
            } catch {
                notes.append(error)
            }
        }
        return nil
    }

    // MARK: The vDSO

    /// Whether a module is the code that the kernel maps into every process. It has no file.
    static func isVDSO(_ path: String) -> Bool { !path.contains("/") && path.contains("vdso") }

    /// The vDSO with that build-id: this process's own, or one stored beside a kernel's modules.
    func vdso(buildID: [UInt8]?, notes: inout [SymbolsError]) throws(SymbolsError) -> ELFFile? {
        var own: SymbolsError?
        if let bytes = Self.ownVDSO() {
            let file = try ELFFile(FileReader(name: "[vdso]", bytes: bytes))
            let found = try file.readBuildID() ?? []
            // Each kernel has its own: without proof it is not the one that ran.
            if let buildID, found == buildID { return file }
            own = SymbolsError(file: "[vdso]", reason: .buildIDDiffers(expected: buildID ?? [], found: found))
        }
        guard let buildID else { return nil }
        if let file = moduleFile(ofBuildID: buildID, notes: &notes) { return file }
        let kernels = "\(sysroot)/lib/modules"
        var ignored: [SymbolsError] = []
        let names = directoryNames(kernels).sorted()
        let paths = names.flatMap { name in
            ["vdso64.so", "vdso32.so", "vdsox32.so", "vdso.so"].map { "\(kernels)/\(name)/vdso/\($0)" }
        }
        if let file = first(paths, buildID: buildID, notes: &ignored) { return file }
        if let own { throw own }
        return nil
    }

    private static func ownVDSO() -> FileBytes? {
        let start = UInt(getauxval(UInt(AT_SYSINFO_EHDR)))
        // Its section headers are after the last segment, so only the mapping gives its length.
        guard start != 0, let base = UnsafeRawPointer(bitPattern: start),
            let mapping = try? mappings(of: getpid()).first(where: { $0.start == UInt64(start) })
        else { return nil }
        return FileBytes(copying: UnsafeRawBufferPointer(start: base, count: Int(mapping.end - mapping.start)))
    }
}

private func directoryNames(_ path: String) -> [String] {
    guard let directory = path.withPath({ opendir($0) }) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { pathText($0.prefix { $0 != 0 }) }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names
}
