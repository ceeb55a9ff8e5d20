// The process to attach to: its modules, and the code in them that a thread must be outside of for a call.
// Everything is read before any thread is stopped.

import CAttach
import Glibc
import Launch
import Proc
import SystemPackage
import Text

/// The functions to call in the process, and the code spans to avoid.
struct Target {
    let pid: pid_t
    var plan = attach_plan()
    /// The address of dlopen or its substitute, and the mode that it needs.
    let open: UInt64
    let openMode: UInt64
    let error: UInt64
    /// Where libheapsum.so starts, if the process has loaded it already.
    var library: UInt64?
    /// Whether it has loaded libheapsum-mappings.so already.
    private(set) var hasMappingsLibrary = false

    /// Functions that hold one of libc's locks while they call or wait for something else. dlopen would wait for it.
    private static let lockHolders = [
        "dl_iterate_phdr", "dladdr", "dladdr1", "fork", "_Fork", "vfork", "posix_spawn", "__register_atfork",
        "__cxa_thread_atexit_impl", "pthread_getattr_np", "pthread_create", "setuid", "setgid", "setreuid", "setregid",
        "setresuid", "setresgid", "seteuid", "setegid", "setgroups", "__libc_freeres",
    ]

    init(_ pid: pid_t) throws(LaunchError) {
        self.pid = pid
        let maps = try readMapsOnceStarted(pid)
        hasMappingsLibrary = maps.contains(where: AttachedLibrary.mappings.isMapped)
        guard let libcStart = maps.first(where: { isLibc($0) && $0.fileOffset == 0 })?.start,
            let libc = attach_module_read(pid, libcStart)
        else { throw noLibc(pid, maps) }
        defer { attach_module_free(libc) }
        guard attach_symbol(libc, "gnu_get_libc_version") != 0 else { throw noLibc(pid, maps) }
        plan.pid = pid

        // dlopen is in libc since glibc 2.34, and in libdl before. Without libdl, libc's own substitute.
        var open = attach_symbol(libc, "dlopen"), error = attach_symbol(libc, "dlerror"), mode: UInt64 = 2 // RTLD_NOW
        if open == 0,
            let start = maps.first(where: { isNamed($0, "libdl.so.2", "libdl-2.") && $0.fileOffset == 0 })?.start,
            let libdl = attach_module_read(pid, start)
        {
            open = attach_symbol(libdl, "dlopen")
            error = attach_symbol(libdl, "dlerror")
            attach_module_free(libdl)
        }
        if open == 0 {
            open = attach_symbol(libc, "__libc_dlopen_mode")
            mode |= 0x8000_0000 // __RTLD_DLOPEN
        }
        guard open != 0 else {
            throw .own("\(pid): its C library has no dlopen, so nothing can be loaded into it: start it by heaprun")
        }
        (self.open, openMode, self.error) = (open, mode, error)

        plan.errno_location = attach_symbol(libc, "__errno_location")
        plan.system_call = attach_find_code(libc, Processor.systemCall, Processor.systemCall.count)
        plan.signal_return = Self.signalReturn(libc, pid, maps)
        guard plan.errno_location != 0, plan.system_call != 0, plan.signal_return != 0 else {
            throw .own("\(pid): its C library lacks code that attaching needs: start it by heaprun")
        }
        var start: UInt64 = 0, end: UInt64 = 0
        if attach_code_span(libc, &start, &end) != 0 { addBusy(start, end) }
        // libc's own allocator always serves the loader before another allocator is loaded.
        if attach_symbol_span(libc, "malloc", "malloc_info", &start, &end) != 0 { forbid(start, end) }
        for name in Self.lockHolders where attach_symbol_span(libc, name, name, &start, &end) != 0 {
            let function = attach_symbol(libc, name)
            // A thread's start function follows pthread_create in the same object file, and is on every stack.
            forbid(function, name == "pthread_create" ? min(end, function + 64) : end)
        }
        for mapping in maps where mapping.fileOffset == 0 && isNamed(mapping, "ld-linux", "ld-2.") {
            guard let loader = attach_module_read(pid, mapping.start) else { continue }
            if attach_code_span(loader, &start, &end) != 0 {
                forbid(start, end)
                addBusy(start, end)
            }
            attach_module_free(loader)
        }
        try findAllocators(maps)
    }

    // Finds an allocator in another library or in the program itself. All of that module's code is avoided, because
    // its functions can't be told apart.
    private mutating func findAllocators(_ maps: [Mapping]) throws(LaunchError) {
        var start: UInt64 = 0, end: UInt64 = 0
        let executable = (try? pathOfExecutable(pid)) ?? ""
        for mapping in maps where mapping.fileOffset == 0 && mapping.inode != 0 && !isLibc(mapping) {
            guard let module = attach_module_read(pid, mapping.start) else {
                if isLibrary(mapping) { library = mapping.start }
                continue
            }
            defer { attach_module_free(module) }
            if isLibrary(mapping), attach_symbol(module, "heapsum_attach") != 0 {
                library = mapping.start
                continue
            }
            guard attach_symbol(module, "malloc") != 0, !isNamed(mapping, "ld-linux", "ld-2.") else { continue }
            if mapping.path == executable {
                plan.only_outside = 1
            } else if attach_code_span(module, &start, &end) != 0 {
                forbid(start, end)
            }
        }
    }

    /// The code to which signal handlers return: libc's own on x86-64, the kernel's on AArch64.
    private static func signalReturn(_ libc: OpaquePointer, _ pid: pid_t, _ maps: [Mapping]) -> UInt64 {
        let code = Processor.signalReturn
        let found = attach_find_code(libc, code, code.count)
        guard found == 0, let start = maps.first(where: { $0.path == "[vdso]" })?.start,
            let kernels = attach_module_read(pid, start)
        else { return found }
        defer { attach_module_free(kernels) }
        return attach_find_code(kernels, code, code.count)
    }

    private mutating func forbid(_ start: UInt64, _ end: UInt64) {
        guard end > start else { return }
        withUnsafeMutableBytes(of: &plan.forbidden) {
            let spans = $0.assumingMemoryBound(to: attach_span.self)
            if plan.forbidden_count < spans.count {
                spans[plan.forbidden_count] = attach_span(start: start, end: end)
                plan.forbidden_count += 1
            }
        }
    }

    private mutating func addBusy(_ start: UInt64, _ end: UInt64) {
        withUnsafeMutableBytes(of: &plan.busy) {
            let spans = $0.assumingMemoryBound(to: attach_span.self)
            if plan.busy_count < spans.count {
                spans[plan.busy_count] = attach_span(start: start, end: end)
                plan.busy_count += 1
            }
        }
    }
}

private func pathOfExecutable(_ pid: pid_t) throws(Errno) -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/\(livingThread(of: pid))/exe", &buffer, buffer.count - 1)
    guard count > 0 else { throw Errno(rawValue: errno) }
    return pathText(buffer[..<count].map { UInt8(bitPattern: $0) })
}

/// Whether the mapped file's base name begins with one of these names.
func isNamed(_ mapping: Mapping, _ names: String...) -> Bool {
    let name = mapping.path.split(separator: "/").last ?? ""
    return names.contains { name.hasPrefix($0) }
}

private func isLibc(_ mapping: Mapping) -> Bool { isNamed(mapping, "libc.so.6", "libc-2.") }

/// Whether a mapping is of libheapsum.so, from a file or from a memfd.
func isLibrary(_ mapping: Mapping) -> Bool { AttachedLibrary.recorder.isMapped(as: mapping) }

func readMaps(_ pid: pid_t) throws(LaunchError) -> [Mapping] {
    do { return try mappings(of: pid) } catch { throw permissionRefusal(pid, error) }
}

/// The mappings of a program whose loader has mapped its libraries. One that is just starting is waited for, up to five
/// seconds: it has glibc's loader, and no libc yet.
private func readMapsOnceStarted(_ pid: pid_t) throws(LaunchError) -> [Mapping] {
    var maps = try readMaps(pid)
    func isStarting(_ maps: [Mapping]) -> Bool {
        maps.contains { isNamed($0, "ld-linux", "ld-2.") } && !maps.contains(where: isLibc)
    }
    guard isStarting(maps) else { return maps }
    for _ in 0 ..< 100 {
        usleep(50_000)
        let before = maps
        maps = try readMaps(pid)
        if !isStarting(maps) && maps == before { break }
    }
    return maps
}

/// What is said of a process that ends while somebody looks at it.
func endedMeanwhile(_ pid: pid_t) -> LaunchError? {
    Presence.livingThread(of: UInt32(bitPattern: pid)) == nil ? .own("\(pid): it has ended") : nil
}

private func noLibc(_ pid: pid_t, _ maps: [Mapping]) -> LaunchError {
    // Its mappings go before it does.
    if let ended = endedMeanwhile(pid) ?? (maps.isEmpty ? .own("\(pid): it has ended") : nil) { return ended }
    if maps.contains(where: { isNamed($0, "ld-musl", "libc.musl") || $0.path.contains("-musl/") }) {
        return .own(
            "\(pid): its C library is musl, and heaprun attaches to programs of glibc alone: start it by heaprun")
    }
    if !maps.contains(where: { $0.path.contains(".so") }) {
        return .own(
            "\(pid): it is statically linked, so it has no loader to load a library: link it dynamically, and start "
                + "it by heaprun")
    }
    return .own("\(pid): it has no glibc, which libheapsum.so needs")
}
