// Runs gzip and zstd as child processes: the compressed file is their standard input, a pipe their output.
//
// The child shares our open descriptor, so the file offset shows its progress.

import CLogs
import Glibc
import SystemPackage

/// A running decompressor.
final class Decompressor {
    /// The pipe with the decompressed bytes.
    let output: CInt
    private let messages: CInt
    private var child: pid_t
    private let tool: String

    /// The tool that decompresses a file beginning with `magic`.
    static func tool(for magic: ArraySlice<UInt8>) -> String? {
        if magic.starts(with: [0x1F, 0x8B]) { return "gzip" }
        if magic.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) { return "zstd" }
        return nil
    }

    /// Starts `tool` on `input`; `file` is its name in messages.
    init(_ tool: String, input: CInt, file: String) throws(LogError) {
        var out: [CInt] = [-1, -1], err: [CInt] = [-1, -1]
        guard pipe2(&out, O_CLOEXEC) == 0 else {
            throw LogError(file: file, what: "no pipe: \(Errno(rawValue: errno))")
        }
        // Error messages beyond the pipe's capacity are lost, so that nobody waits for them.
        guard pipe2(&err, O_CLOEXEC | O_NONBLOCK) == 0 else {
            let failure = Errno(rawValue: errno)
            for descriptor in out { close(descriptor) }
            throw LogError(file: file, what: "no pipe: \(failure)")
        }
        // A megabyte if allowed: fewer switches between the two processes.
        _ = fcntl(out[0], CInt(HEAP_LOGS_SET_PIPE_SIZE), 1 << 20)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, out[1], 1)
        posix_spawn_file_actions_adddup2(&actions, err[1], 2)
        let words: [UnsafeMutablePointer<CChar>?] = [strdup(tool), strdup("-dcq"), nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let result = posix_spawnp(&pid, tool, &actions, nil, words, environ)
        close(out[1])
        close(err[1])
        guard result == 0 else {
            close(out[0])
            close(err[0])
            let why =
                result == ENOENT
                ? "\(tool), which decompresses this, is not installed" : "\(tool): \(Errno(rawValue: result))"
            throw LogError(file: file, what: why)
        }
        (output, messages, child, self.tool) = (out[0], err[0], pid, tool)
    }

    deinit { _ = finish() }

    /// Waits for the child. Returns its error message; nil if it succeeded.
    func finish() -> String? {
        guard child > 0 else { return nil }
        // If not everything was read, it ends at its next write.
        close(output)
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        child = 0
        var bytes = [UInt8](repeating: 0, count: 400)
        let count = read(messages, &bytes, bytes.count)
        close(messages)
        if status == 0 { return nil }
        let text = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).split(separator: "\n").last {
            !$0.isEmpty
        }
        return "not decompressed to its end: \(text.map(String.init) ?? "\(tool) failed")"
    }
}
