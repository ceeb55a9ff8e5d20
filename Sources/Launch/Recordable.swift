// Decides in advance whether the library can record a program, preloaded or linked into it, from its ELF headers and
// file mode. The file is hostile until checked: every offset and count is compared with what was read. It must never
// refuse what would work: if nothing is certain, the program runs.

import CLaunch
import Glibc
import Proc
import SystemPackage
import Text

/// Refuses a program into which the dynamic loader would not preload the library, unless the library is linked into it.
///
/// - Parameter path: the ELF file that the kernel loads (for a script, its interpreter).
/// - Throws: exit status 125 with the reason and a way out.
package func checkRecordable(_ path: FilePath) throws(LaunchError) {
    try checkPrivileges(path)
    let head: [UInt8]
    // not readable: execve will report any problem
    do { head = try readBytes(path, limit: 1 << 20) } catch { return }
    try checkElf(head, path: path)
}

// The loader ignores LD_PRELOAD in secure mode, when the program gets rights that its caller doesn't have.
private func checkPrivileges(_ path: FilePath) throws(LaunchError) {
    guard let status = try? path.status() else { return }
    if getuid() != geteuid() || getgid() != getegid() {
        throw .own(
            "heaprun runs with a real user or group that isn't the effective one: the loader ignores LD_PRELOAD then")
    }
    guard launch_no_new_privileges() == 0, !isOnNosuidFileSystem(path) else { return }
    let mode = status.st_mode
    let takesUser = mode & S_ISUID != 0 && status.st_uid != getuid()
    // Without the group's execute bit, setgid marks mandatory locking.
    let takesGroup = mode & S_ISGID != 0 && mode & S_IXGRP != 0 && status.st_gid != getgid()
    let wayOut = "record a copy of it (cp makes one without these rights), or run heaprun as the user it would become"
    if takesUser || takesGroup {
        throw .own("\(path.text) is set\(takesUser ? "uid" : "gid"): the loader ignores LD_PRELOAD in it; \(wayOut)")
    }
    // Root has these capabilities already.
    if getuid() != 0 && path.withPlatformString({ launch_has_capabilities($0) }) != 0 {
        throw .own("\(path.text) has file capabilities: the loader ignores LD_PRELOAD in it; \(wayOut)")
    }
}

private func isOnNosuidFileSystem(_ path: FilePath) -> Bool {
    var fileSystem = statvfs()
    guard path.withPlatformString({ statvfs($0, &fileSystem) }) == 0 else { return false }
    return fileSystem.f_flag & 2 != 0 // ST_NOSUID
}

#if arch(x86_64)
    private let ownMachine: UInt16 = 62 // EM_X86_64
#elseif arch(arm64)
    private let ownMachine: UInt16 = 183 // EM_AARCH64
#endif

private func machineName(_ machine: UInt16) -> String {
    switch machine {
    case 3: "i386"
    case 40: "ARM"
    case 62: "x86-64"
    case 183: "AArch64"
    case 243: "RISC-V"
    case 21: "PowerPC64"
    case 22: "S/390"
    default: "ELF machine \(machine)"
    }
}

/// The checks of the ELF headers. `head` is the start of the file, enough for its program headers.
func checkElf(_ head: [UInt8], path: FilePath) throws(LaunchError) {
    let name = path.text
    guard head.count >= 20, head.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else { return }
    let isLittleEndian = head[5] == 1
    let machine = isLittleEndian ? UInt16(head[18]) | UInt16(head[19]) << 8 : UInt16(head[19]) | UInt16(head[18]) << 8
    guard machine == ownMachine, isLittleEndian else {
        throw .own(
            "\(name) is a program for \(machineName(machine)), and this heapsum is for \(machineName(ownMachine)): use "
                + "the heapsum of that architecture"
        )
    }
    guard head[4] == 2 else {
        throw .own("\(name) is a 32-bit program, and heapsum records 64-bit programs: build it for 64 bits")
    }
    // From here on the file is a 64-bit little-endian one. If it is cut off, execve will refuse it.
    guard let type = head.integer(at: 16, UInt16.self), let headers = head.integer(at: 32, UInt64.self),
        let size = head.integer(at: 54, UInt16.self), size >= 56, let count = head.integer(at: 56, UInt16.self)
    else { return }
    var interpreter: String?
    var dynamic: (offset: UInt64, size: UInt64)?
    var isLinked = false
    for index in 0 ..< UInt64(count) {
        let (at, overflow) = headers.addingReportingOverflow(index * UInt64(size))
        guard !overflow, let kind = head.integer(at: at, UInt32.self),
            let offset = head.integer(at: at &+ 8, UInt64.self),
            let length = head.integer(at: at &+ 32, UInt64.self)
        else { return }
        switch kind {
        case 3: // PT_INTERP
            guard offset < UInt64(head.count), length <= 4096 else { return }
            interpreter = pathText(head.dropFirst(Int(offset)).prefix(Int(length)).prefix { $0 != 0 })
        case 2: dynamic = (offset, length) // PT_DYNAMIC
        case 4: // PT_NOTE
            guard offset < UInt64(head.count) else { break }
            isLinked = isLinked || hasNote(head.dropFirst(Int(offset)).prefix(Int(clamping: length)))
        default: break
        }
    }
    let isExecutable = type == 2 // ET_EXEC
    guard let interpreter else {
        // A shared object without an interpreter is a static PIE, or the dynamic loader called by name (`ld.so
        // program`), and the loader does preload.
        if isLinked { return }
        let isStaticPie = try dynamic.map { (dynamic) throws(LaunchError) in try isPie(head, path, dynamic) } ?? false
        if isExecutable || isStaticPie {
            throw .own(
                "\(name) is statically linked\(isStaticPie ? " (static PIE)" : ""): there is no dynamic loader in it "
                    + "to preload anything; "
                    + "link it without -static\(isStaticPie ? "-pie" : ""), or with libheapsum.a (docs/static.md)")
        }
        return
    }
    let loader = FilePath(text: interpreter).lastComponent?.text ?? ""
    if loader.hasPrefix("ld-uClibc") || loader.hasPrefix("linker64") {
        let library = loader.hasPrefix("linker64") ? "Bionic" : "uClibc"
        throw .own(
            "\(name) is linked with \(library) (its loader is \(interpreter)), and libheapsum.so needs glibc or musl: "
                + "record a build of it for one of these"
        )
    }
    if !FilePath(text: interpreter).isAccessible(F_OK) {
        throw .notFound("\(name): its loader isn't there: \(interpreter)")
    }
    if loader.hasPrefix("ld-musl"), isOldMusl(FilePath(text: interpreter)) {
        throw .own(
            "\(name): its C library is a musl before 1.2.2 (\(interpreter)), whose aligned_alloc fails where malloc is "
                + "preloaded: record it under a newer one"
        )
    }
}

// Before 1.2.2 musl's aligned_alloc fails if any library replaces malloc. musl has no version to read, but that one was
// the first with reallocarray.
private func isOldMusl(_ loader: FilePath) -> Bool {
    guard let file = try? readBytes(loader, limit: 8 << 20) else { return false }
    return file.firstRange(of: Array("\0reallocarray\0".utf8)) == nil
}

// Whether a segment of notes has libheapsum.a's: it is linked into the program.
private func hasNote(_ notes: ArraySlice<UInt8>) -> Bool {
    let notes = [UInt8](notes)
    let owner = Array("heapsum\0".utf8)
    var at: UInt64 = 0
    while let nameSize = notes.integer(at: at, UInt32.self), let valueSize = notes.integer(at: at + 4, UInt32.self) {
        if notes.dropFirst(Int(at) + 12).starts(with: owner) && nameSize == owner.count { return true }
        at += 12 + (UInt64(nameSize) + 3) / 4 * 4 + (UInt64(valueSize) + 3) / 4 * 4
    }
    return false
}

// Whether PT_DYNAMIC carries DF_1_PIE. If the section is beyond the head that was read, it is read separately.
private func isPie(
    _ head: [UInt8], _ path: FilePath, _ dynamic: (offset: UInt64, size: UInt64)
) throws(LaunchError) -> Bool {
    guard dynamic.size <= 1 << 16, let file = try? openToRead(path) else { return false }
    defer { try? file.close() }
    guard let entries = try? readBytes(file, at: dynamic.offset, count: Int(dynamic.size)) else { return false }
    let flags = dynamicEntries(entries).first { $0.tag == 0x6FFF_FFFB }?.value ?? 0 // DT_FLAGS_1
    return flags & 0x0800_0000 != 0 // DF_1_PIE
}

extension [UInt8] {
    /// A little-endian integer; nil if it is past the end.
    func integer<Value: FixedWidthInteger & UnsignedInteger>(at offset: UInt64, _: Value.Type) -> Value? {
        let width = Value.bitWidth / 8
        guard offset <= UInt64(count), UInt64(count) - offset >= UInt64(width) else { return nil }
        let start = Int(offset)
        return self[start ..< start + width].reversed().reduce(0) { $0 << 8 | Value($1) }
    }
}
