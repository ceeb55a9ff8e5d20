// Finds the file for a program's name, as execvp(3) would, and follows scripts to the ELF file that the kernel finally
// runs. It does not decide whether that file can be recorded.

import Glibc
import Proc
import SystemPackage
import Text

/// A program found: the file to execute, and what the kernel loads for it.
package struct FoundProgram: Equatable {
    /// The file for execve. For a text file without `#!` this is /bin/sh.
    package var executable: FilePath
    /// The ELF file that is finally run: the executable itself, or its script's interpreter.
    package var loaded: FilePath
    /// Set if execve must run /bin/sh with this script as first argument, as execvp does.
    package var shellScript: FilePath?
}

/// The file that a program's name stands for.
///
/// A name with a slash is a path. Any other name is looked for in the directories of `searchPath`; an empty one is the
/// working directory. A file that may not be executed is skipped as long as there are more directories.
/// - Throws: exit status 127 if there is none, 126 if there is one that can't be executed.
package func findProgram(_ name: FilePath, searchPath: String?) throws(LaunchError) -> FilePath {
    guard !name.isEmpty else { throw .notFound("the program's name is empty") }
    if name.text.utf8.contains(UInt8(ascii: "/")) {
        if let problem = executionProblem(name) { throw problem }
        return name
    }
    var denied: LaunchError?
    // Without PATH, execvp takes the system's default (confstr(_CS_PATH)).
    for directory in (searchPath ?? "/bin:/usr/bin").split(separator: ":", omittingEmptySubsequences: false) {
        let path = FilePath(text: directory.isEmpty ? "." : String(directory)).appending(name.components)
        guard let problem = executionProblem(path) else { return path }
        if problem.exitStatus == 126 && denied == nil { denied = problem }
    }
    throw denied ?? .notFound("\(name.text): not found in PATH")
}

private func executionProblem(_ path: FilePath) -> LaunchError? {
    do {
        let status = try path.status()
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return .notExecutable("\(path.text): is a directory")
        case S_IFREG: break
        default: return .notExecutable("\(path.text): is not a regular file")
        }
        return path.isAccessible(X_OK) ? nil : .notExecutable("\(path.text): \(errnoText(errno))")
    } catch {
        switch error {
        case .noSuchFileOrDirectory, .notDirectory: return .notFound("\(path.text): \(error.description)")
        default: return .notExecutable("\(path.text): \(error.description)")
        }
    }
}

/// Follows `#!` lines to the ELF file that the kernel will load.
///
/// Like the kernel, this gives up after five interpreters.
/// - Throws: 126 for a file that is neither ELF nor script, 127 for a missing interpreter.
package func resolveProgram(_ path: FilePath) throws(LaunchError) -> FoundProgram {
    var found = FoundProgram(executable: path, loaded: path, shellScript: nil)
    for level in 0 ... 5 {
        let head: [UInt8]
        do { head = try readBytes(found.loaded, limit: 256) } catch {
            // A file may be executable and not readable; then nothing is known about it beforehand.
            if error == .permissionDenied { return found }
            throw .notExecutable("\(found.loaded.text): \(error.description)")
        }
        if head.starts(with: [0x7F, 0x45, 0x4C, 0x46]) { return found }
        if head.starts(with: Array("#!".utf8)) {
            let line = head.dropFirst(2).prefix { $0 != UInt8(ascii: "\n") && $0 != 0 }
            let words = line.split(whereSeparator: { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") })
            guard let word = words.first else {
                throw .notExecutable("\(found.loaded.text): its #! line names no interpreter")
            }
            let interpreter = FilePath(text: pathText(word))
            if let problem = executionProblem(interpreter) {
                throw LaunchError(
                    exitStatus: problem.exitStatus,
                    message: "\(found.loaded.text): its interpreter can't be run: \(problem.message)")
            }
            found.loaded = interpreter
            continue
        }
        // execvp passes a file that the kernel doesn't know to the shell. A file with a NUL byte in its first line is
        // not a script: shells refuse it, too.
        guard level == 0, !head.prefix(while: { $0 != UInt8(ascii: "\n") }).contains(0) else {
            throw .notExecutable("\(found.loaded.text): neither an ELF program nor a script")
        }
        found = FoundProgram(executable: "/bin/sh", loaded: "/bin/sh", shellScript: path)
    }
    throw .notExecutable("\(path.text): its #! lines lead through more than five interpreters")
}
