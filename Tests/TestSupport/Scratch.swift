// Runs real programs for the tests and says what came out of them. Each test has a directory of its own, which
// is removed after it.

import Glibc

/// What a finished program left.
package struct Outcome: Equatable {
    /// As waitpid gives it.
    package var waitStatus: Int32
    package var output: String
    package var messages: String

    package init(waitStatus: Int32, output: String, messages: String) {
        (self.waitStatus, self.output, self.messages) = (waitStatus, output, messages)
    }

    /// As a shell says it.
    package var exitStatus: Int32 { waitStatus & 0x7F == 0 ? waitStatus >> 8 & 0xFF : 128 + (waitStatus & 0x7F) }
}

/// A started program.
package struct Running {
    /// Kept, so that its directory is there as long as the program is waited for.
    package let scratch: Scratch
    package let pid: pid_t
    package let outputPath: String
    package let messagesPath: String

    package func wait() throws -> Outcome {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { throw Failure("waitpid: \(String(cString: strerror(errno)))") }
        }
        return Outcome(waitStatus: status, output: try contents(outputPath), messages: try contents(messagesPath))
    }

    /// Whether it has ended, with all its threads. It is still to be waited for.
    package var hasEnded: Bool {
        var end = siginfo_t()
        return waitid(P_PID, id_t(pid), &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_signo == SIGCHLD
    }

    /// Its only child, once it is there.
    package func child() throws -> pid_t {
        var child: pid_t?
        _ = try eventually(seconds: 60) {
            child = try contents("/proc/\(pid)/task/\(pid)/children").split(separator: " ").first.flatMap { pid_t($0) }
            return child != nil || hasEnded
        }
        guard let child else { throw Failure("PID \(pid) started nothing: \(try contents(messagesPath))") }
        return child
    }

    /// Waits until a signal does to the process what the process itself has chosen, by a handler or by a wait for it:
    /// one that comes before, while the process is still starting, ends it.
    package func isReady(for signal: Int32) throws -> Bool {
        try eventually(seconds: 60) {
            let status = try contents("/proc/\(pid)/status").split(separator: "\n")
            return status.contains {
                ($0.hasPrefix("SigCgt:") || $0.hasPrefix("SigBlk:") || $0.hasPrefix("SigIgn:"))
                    && (UInt64($0.dropFirst(8), radix: 16) ?? 0) >> UInt64(signal - 1) & 1 != 0
            }
        }
    }
}

package struct Failure: Error, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
}

/// A directory for one test.
package final class Scratch {
    package let path: String
    private var number = 0

    package init() throws {
        var template = Array("/tmp/heapsum-test-XXXXXX".utf8CString)
        path = try template.withUnsafeMutableBufferPointer {
            guard let made = $0.baseAddress.flatMap({ mkdtemp($0) }) else { throw Failure("no directory for a test") }
            return String(cString: made)
        }
    }

    deinit {
        removeRunDirectories(for: path)
        _ = system("rm -rf '\(path)'")
    }

    package func file(_ name: String) -> String { "\(path)/\(name)" }

    /// What lies in it, in order.
    package var names: [String] { TestSupport.names(in: path).sorted() }

    /// Starts a program found in PATH. Variables are added to the environment; nil takes one away.
    /// `input` is a path that standard input reads from.
    package func start(
        _ arguments: [String], variables: [String: String?] = [:], directory: String? = nil, input: String = "/dev/null"
    ) throws -> Running {
        number += 1
        let outputPath = "\(path)/out-\(number)", messagesPath = "\(path)/err-\(number)"
        // They are there from now on, also where posix_spawn returns before the child has opened them, as under qemu.
        for path in [outputPath, messagesPath] {
            let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
            close(file)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // a FIFO opened so has a writer, and blocks nobody
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDWR, 0)
        posix_spawn_file_actions_addopen(&actions, 1, outputPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, messagesPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own: a signal to the runner's group is no part of the test; and a clean signal state.
        var mask = sigset_t(), all = sigset_t()
        sigemptyset(&mask)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &mask)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var pid: pid_t = 0
        let place = directory ?? path
        guard let changeDirectory, changeDirectory(&actions, place) == 0 else { throw Failure("no way into \(place)") }
        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environmentWith(variables.merging(["PWD": place]) { own, _ in own }).map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        // When this comes back, the process is the program, and no shell or copy of the tests any more.
        let result = posix_spawnp(&pid, arguments[0], &actions, &attributes, argv, envp)
        guard result == 0 else { throw Failure("can't start \(arguments[0]): \(String(cString: strerror(result)))") }
        return Running(scratch: self, pid: pid, outputPath: outputPath, messagesPath: messagesPath)
    }

    package func run(
        _ arguments: [String], variables: [String: String?] = [:], directory: String? = nil
    ) throws -> Outcome {
        try start(arguments, variables: variables, directory: directory).wait()
    }

    package func shell(_ script: String, variables: [String: String?] = [:]) throws -> Outcome {
        try run(["/bin/sh", "-c", script], variables: variables)
    }

    /// Runs a tool that prepares a test; its failure is the test's.
    package func prepare(_ script: String) throws {
        let outcome = try shell(script)
        guard outcome.exitStatus == 0 else {
            throw Failure("\(script): exit status \(outcome.exitStatus): \(outcome.messages)")
        }
    }

    package func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws {
        // Closed in programs that other tests start meanwhile: nobody can run a file that is open for writing.
        guard let file = fopen("\(path)/\(name)", "we") else { throw Failure("can't write \(name)") }
        fputs(text, file)
        fclose(file)
        chmod("\(path)/\(name)", mode)
    }
}

private typealias ChangeDirectory =
    @convention(c) (
        UnsafeMutablePointer<posix_spawn_file_actions_t>, UnsafePointer<CChar>
    ) -> Int32

/// posix_spawn's own change of directory, which is not in Swift's Glibc.
private let changeDirectory = dlsym(nil, "posix_spawn_file_actions_addchdir_np").map {
    unsafeBitCast($0, to: ChangeDirectory.self)
}

private func environmentWith(_ variables: [String: String?]) -> [String] {
    var entries: [String] = []
    var next = environ
    while let entry = next.pointee {
        let text = String(cString: entry)
        // A recorded test run would record the programs under test too.
        if !variables.keys.contains(where: { text.hasPrefix("\($0)=") }) && !text.hasPrefix("LD_PRELOAD=")
            && !text.hasPrefix("HEAPSUM_")
        {
            entries.append(text)
        }
        next += 1
    }
    for (name, value) in variables { if let value { entries.append("\(name)=\(value)") } }
    return entries
}

package func contents(_ path: String) throws -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = chunk.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
        if count <= 0 { break }
        bytes.append(contentsOf: chunk[..<count])
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// Waits until something holds; says whether it came to.
package func eventually(seconds: Double = 20, _ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0 ..< Int(seconds * 100) {
        if try condition() { return true }
        usleep(10_000)
    }
    return false
}

/// The tools under test, from the same build as this test.
package enum Built {
    /// The package's directory.
    package static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    /// Where the build's products lie: beside the test bundle, which is mapped here.
    package static let products: String = {
        let maps = (try? contents("/proc/self/maps")) ?? ""
        for line in maps.split(separator: "\n") where line.hasSuffix(".xctest") {
            if let start = line.firstIndex(of: "/"), let end = line.lastIndex(of: "/") {
                return String(line[start ..< end])
            }
        }
        return root + "/.build/debug"
    }()

    package static let heaprun = products + "/heaprun"
    package static let heapdump = products + "/heapdump"

    /// libheapsum.so, made once for all tests.
    package static let interposer: String = {
        if let path = getenv("HEAPSUM_LIBRARY") { return String(cString: path) }
        let status = system("make -s -C '\(root)' library examples >&2")
        precondition(status == 0, "make library failed")
        return root + "/.build/heapsum/lib/heapsum/libheapsum.so"
    }()

    package static let examples = root + "/.build/examples"

    /// A program of Tests/Programs, compiled once for all tests, as distributions compile: optimised, without frame
    /// pointers.
    package static func program(_ name: String) throws -> String { try programs.program(name) }
    private static let programs = Programs()

    /// Debian's pprof, built from the sources that its Go library package has.
    package static let pprof: String = {
        let path = "\(root)/.build/test-programs/pprof"
        if access(path, X_OK) == 0 { return path }
        let made = "\(path).\(getpid())"
        let status = system(
            "mkdir -p '\(root)/.build/test-programs' && cd /usr/share/gocode/src/github.com/google/pprof "
                + "&& GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOCACHE='\(root)/.build/go-cache' go build "
                + "-o '\(made)' . >&2 && mv '\(made)' '\(path)'"
        )
        precondition(status == 0, "pprof doesn't build")
        return path
    }()

    /// A Python with the published definitions of formats; see scripts/install-readers.
    package static let readers: String = {
        let status = system("'\(root)/scripts/install-readers' >&2")
        precondition(status == 0, "scripts/install-readers failed")
        return root + "/.build/readers/bin/python"
    }()

    /// VisualVM's reader of heap dumps, a library for java's class path.
    package static let heapReader: String = { String(readers.dropLast("bin/python".count)) + "heap-reader.jar" }()
}

/// An empty library in the place of libheapsum.so: what is seen with it is heaprun's own doing.
package let emptyLibrary: String = {
    let path = "/tmp/heapsum-test-empty-\(getpid()).so"
    let status = system("echo 'int heapsum_test_nothing;' | cc -x c -shared -fPIC -o \(path) -")
    precondition(status == 0, "cc failed")
    atexit { unlink("/tmp/heapsum-test-empty-\(getpid()).so") }
    return path
}()

extension Scratch {
    /// Starts a program under heaprun, with the empty library unless told otherwise.
    package func startRecorded(
        _ arguments: [String], options: [String] = ["--quiet"], library: String = emptyLibrary,
        variables: [String: String?] = [:], input: String = "/dev/null"
    ) throws -> Running {
        try start(
            [Built.heaprun] + options + arguments, variables: variables.merging(["HEAPSUM_LIBRARY": library]) { $1 },
            input: input)
    }

    package func record(
        _ arguments: [String], options: [String] = ["--quiet"], library: String = emptyLibrary,
        variables: [String: String?] = [:]
    ) throws -> Outcome {
        try startRecorded(arguments, options: options, library: library, variables: variables).wait()
    }
}

/// The programs of Tests/Programs, each compiled at its first use.
private final class Programs: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var compiled: [String: String] = [:]

    init() { pthread_mutex_init(lock, nil) }

    func program(_ name: String) throws -> String {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        if let path = compiled[name] { return path }
        let path = Built.root + "/.build/test-programs/\(name)", source = "\(Built.root)/Tests/Programs/\(name)"
        let compiler =
            access(source + ".c", R_OK) == 0
            ? "cc -std=gnu17 -x c '\(source).c'" : "c++ -std=c++17 -x c++ '\(source).cc'"
        let status = system(
            "mkdir -p \"$(dirname '\(path)')\" && \(compiler) -O1 -g -fomit-frame-pointer -Wall -Wextra "
                + "-Wno-use-after-free -I'\(Built.root)/Interposer' -I'\(Built.root)/Interposer/include' "
                + "-o '\(path)' -lpthread -ldl >&2"
        )
        guard status == 0 else { throw Failure("\(source) doesn't compile") }
        compiled[name] = path
        return path
    }
}
