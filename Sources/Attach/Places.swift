// Where the target finds the library, and where its image goes. A target with another root directory can't use
// heaprun's paths: it gets the library as a copy in a file without a name.

import CAttach
import Glibc
import HeapImage
import Launch
import Proc
import SystemPackage
import Text

/// The libraries that are loaded into a target.
enum AttachedLibrary: String {
    case recorder = "libheapsum.so"
    /// The functions with which a program maps memory itself.
    case mappings = "libheapsum-mappings.so"

    /// Where the target finds its descriptors, by a path of each library's own: the number is often the same, and
    /// dlopen takes a path that it has opened before for the library that it found there then.
    var descriptors: String { self == .recorder ? "/proc/self/fd" : "/proc/thread-self/fd" }

    /// Whether a mapping is of this library, from a file or from a memfd.
    func isMapped(as mapping: Mapping) -> Bool {
        isNamed(mapping, rawValue, "memfd:" + rawValue) || mapping.path.hasPrefix("/memfd:" + rawValue)
    }
}

/// How the target reaches a library.
enum LibraryPlace {
    /// By this path, which leads to the same file for the target.
    case path(String)
    /// Not by a path: its bytes are copied into a memfd of the target's.
    case copy(FilePath)
}

func place(of wanted: AttachedLibrary, for pid: pid_t) throws(LaunchError) -> LibraryPlace {
    var library = try findLibrary(
        named: getenv("HEAPSUM_LIBRARY").map { pathText(cString: $0) }, tool: toolPath)
    if wanted == .mappings { library = try mappingsLibrary(beside: library) }
    let there = FilePath(text: "/proc/\(livingThread(of: pid))/root" + library.text)
    // The target may run as another user, who can't read every file that heaprun can.
    if let here = try? library.status(), let seen = try? there.status(), here.st_ino == seen.st_ino,
        here.st_dev == seen.st_dev, here.st_mode & 0o005 == 0o005 || isOwn(pid), isReachable(library, by: pid)
    {
        return .path(library.text)
    }
    try checkHasProc(pid, library)
    return .copy(library)
}

/// The loader opens a copy by its descriptor's path in /proc.
///
/// - Throws: if the target has another root, and no /proc in it.
private func checkHasProc(_ pid: pid_t, _ library: FilePath) throws(LaunchError) {
    let root = "/proc/\(livingThread(of: pid))/root"
    // A file that each procfs has, whichever PID namespace it shows.
    if FilePath(text: root + "/proc/sys/kernel/ostype").isAccessible(F_OK) { return }
    if let ended = endedMeanwhile(pid) { throw ended }
    let place = FilePath(text: root).linkText ?? "another one"
    throw .own(
        "\(pid): its root directory is \(printable(place)). Neither heapsum's library nor /proc is there, so its "
            + "loader can't load the library. Mount /proc there (mount --bind /proc "
            + "\(shellWord((place == "/" ? "" : place) + "/proc"))), or "
            + "\(printable(library.removingLastComponent().text)) at the same path, and try again; or start the "
            + "program by heaprun")
}

/// Where the libraries are that a recording needs.
struct AttachedPlaces {
    let recorder: LibraryPlace
    /// nil: it is not needed, or loaded already.
    let mappings: LibraryPlace?

    init(for target: Target, options: RecordingOptions) throws(LaunchError) {
        recorder = try place(of: .recorder, for: target.pid)
        mappings = options.mappings && !target.hasMappingsLibrary ? try place(of: .mappings, for: target.pid) : nil
    }
}

private func userOf(_ pid: pid_t) -> (user: uid_t, group: gid_t)? {
    guard let users = statusWords("Uid:", of: livingThread(of: pid)),
        let groups = statusWords("Gid:", of: livingThread(of: pid)),
        users.count > 3, groups.count > 3, let user = uid_t(String(decoding: users[3], as: UTF8.self)),
        let group = gid_t(String(decoding: groups[3], as: UTF8.self))
    else { return nil }
    return (user, group)
}

private func isOwn(_ pid: pid_t) -> Bool { userOf(pid)?.user == geteuid() }

/// Whether the target's user may pass through all directories above a file.
private func isReachable(_ file: FilePath, by pid: pid_t) -> Bool {
    if isOwn(pid) { return true }
    var directory = file.removingLastComponent()
    while true {
        guard let status = try? directory.status(), status.st_mode & 0o001 != 0 else { return false }
        let parent = directory.removingLastComponent()
        if parent == directory || directory.text == "/" { return true }
        directory = parent
    }
}

/// Loads a library.
///
/// - Throws: with the loader's own message.
func load(
    _ wanted: AttachedLibrary, _ place: LibraryPlace, _ thread: inout StoppedThread, _ target: Target
) throws(LaunchError) {
    let room = try thread.room()
    var descriptor: Int64?
    let path: String
    switch place {
    case .path(let known): path = known
    case .copy(let library):
        try thread.write(Array(wanted.rawValue.utf8) + [0], at: room)
        let made = makeMemoryFile(named: room, in: &thread)
        if made == -Int64(ETIMEDOUT) { throw thread.noReturn() }
        guard made >= 0 else {
            throw .own("\(target.pid): it can't make a memfd for the library: \(errnoText(Int32(-made)))")
        }
        descriptor = made
        try copy(library, to: FilePath("/proc/\(target.pid)/fd/\(made)"), target.pid)
        path = "\(wanted.descriptors)/\(made)"
    }
    try thread.write(Array(path.utf8) + [0], at: room)
    let handle = try thread.call(target.open, room, target.openMode)
    var reason: String?
    if handle == 0 {
        let text = target.error == 0 ? 0 : try thread.call(target.error)
        reason = text == 0 ? "the loader gave no reason" : thread.text(at: text)
    }
    if let descriptor { _ = thread.systemCall(Processor.close, [UInt64(descriptor)]) }
    if let reason {
        let isFull = reason.contains("static TLS")
        throw .own(
            "\(target.pid): the library can't be loaded into it: \(reason)"
                + (isFull
                    ? ". The program's libraries have used up glibc's reserve for thread-local data of libraries that "
                        + "are loaded late: start it by heaprun, or with "
                        + "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=1024"
                    : ""))
    }
}

/// Makes a file in the target's memory: a descriptor of the target's, or a negated errno.
///
/// The file can be mapped as code, but not executed by a path. Since Linux 6.3 a system may refuse other memory files
/// (vm.memfd_noexec); an older kernel does not know MFD_NOEXEC_SEAL.
private func makeMemoryFile(named name: UInt64, in thread: inout StoppedThread) -> Int64 {
    let closeOnExec: UInt64 = 1
    let noExecSeal: UInt64 = 8
    let made = thread.systemCall(Processor.memfdCreate, [name, closeOnExec | noExecSeal])
    return made == -Int64(EINVAL) ? thread.systemCall(Processor.memfdCreate, [name, closeOnExec]) : made
}

private func copy(_ library: FilePath, to place: FilePath, _ pid: pid_t) throws(LaunchError) {
    do {
        let bytes = try readBytes(library, limit: 64 << 20)
        let file = try FileDescriptor.open(place, .writeOnly, options: [.closeOnExec])
        defer { try? file.close() }
        try bytes.withUnsafeBytes { _ = try file.writeAll($0) }
    } catch {
        throw .own("\(pid): the library can't be copied into it: \(error)")
    }
}

/// Bytes that the process has locked in memory.
func lockedBytes(_ pid: pid_t) -> UInt64 {
    guard let words = statusWords("VmLck:", of: livingThread(of: pid)), let first = words.first,
        let kilobytes = UInt64(String(decoding: first, as: UTF8.self))
    else { return 0 }
    return kilobytes << 10
}

/// Whether the target has the same root directory and the same /dev/shm as heaprun.
func hasOurRoot(_ pid: pid_t) -> Bool {
    guard let ours = try? FilePath("/").status(),
        let theirs = try? FilePath("/proc/\(livingThread(of: pid))/root/").status(),
        ours.st_ino == theirs.st_ino, ours.st_dev == theirs.st_dev,
        let shared = try? FilePath("/dev/shm").status(),
        let there = try? FilePath("/proc/\(livingThread(of: pid))/root/dev/shm").status()
    else { return false }
    return shared.st_ino == there.st_ino && shared.st_dev == there.st_dev
}

/// Where a recording in a running program is put.
struct RecordingPlace {
    let output: FilePath
    /// A new directory for the running image, which the target may write; nil if its root is another, or if the
    /// directory can't be given to its user: the target then makes its image where it can.
    let runDirectory: FilePath?
    /// The request's options with these places.
    var options: RecordingOptions
    private let isNewOutput: Bool

    /// Makes the directories.
    init(for request: AttachRequest) throws(LaunchError) {
        let wanted = request.output ?? "."
        isNewOutput = !wanted.isAccessible(F_OK)
        output = try prepareOutput(wanted)
        runDirectory = try Self.runDirectory(for: request.pid, output: output)
        options = request.options
        options.output = output
        options.runDirectory = runDirectory ?? "/dev/shm"
        if let runDirectory, options.messages == nil { options.messages = runDirectory.appending("messages") }
    }

    /// Removes what was made, after a recording that did not begin.
    func remove() {
        if let runDirectory { Attach.remove(runDirectory) }
        if isNewOutput { _ = output.withPlatformString { rmdir($0) } }
    }

    private static func runDirectory(for pid: pid_t, output: FilePath) throws(LaunchError) -> FilePath? {
        guard hasOurRoot(pid) else { return nil }
        let place = try RunDirectory(output: output)
        if let owner = userOf(pid), owner.user != geteuid() {
            guard place.path.withPlatformString({ chown($0, owner.user, owner.group) }) == 0 else {
                place.removeIfEmpty()
                return nil
            }
        }
        return place.path
    }
}
