// Finds out what the named files are, images or logs, and which images and which sets of a log count.
//
// A file's contents decide, never its name; if the contents don't show it, --input does.

import ArgumentParser
import Glibc
import HeapImage
import Launch
import Logs
import Proc
import Reduce
import SystemPackage
import Text

/// What a file is: the values of --input.
enum InputKind: ExpressibleByArgument, Equatable {
    case auto, image
    case log(LogKind)

    init?(argument: String) {
        switch argument {
        case "auto": self = .auto
        case "image": self = .image
        default:
            guard let kind = LogKind(rawValue: argument) else { return nil }
            self = .log(kind)
        }
    }

    var defaultValueDescription: String { "auto" }
    static var allValueStrings: [String] { ["auto", "image"] + LogKind.allCases.map(\.rawValue) }
    static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}

/// A log that was opened, and the sets of it that count.
struct NamedLog {
    var stream: LogStream
    var kind: LogKind
    var set: SetChoice
}

/// The files that were named.
struct Inputs {
    private(set) var images: [HeapImage] = []
    private(set) var logs: [NamedLog] = []
    /// The reasons for which files can't be used.
    private(set) var failures: [String] = []

    init(paths: [String], kind: InputKind, set: SetChoice) {
        for path in paths {
            let named = NamedProgram(path)
            if let note = named.note { say(note) }
            if kind == .auto || kind == .image, named.processID != nil {
                do { images.append(try named.image()) } catch { failures.append("\(error)") }
                continue
            }
            if kind == .auto || kind == .image, Self.isDirectory(path) {
                take(InputSelection.open(paths: [path]))
                Self.tellRunning(into: path)
                continue
            }
            let (file, own) = Self.set(of: path)
            do throws(LogError) {
                try open(file, kind, own)
                if let log = logs.last, own == nil, log.stream.name == file || file == "-" {
                    logs[logs.count - 1].set = set
                }
            } catch {
                failures.append("\(error)" + Self.hint(for: path))
            }
        }
    }

    /// Says which programs will leave an image in the directory, and have none there yet.
    private static func tellRunning(into directory: String) {
        let running = recordings(into: FilePath(text: directory))
        for program in running.prefix(8) {
            let pid = program.processID
            sayShown(
                "\(printable(program.program)) (PID \(pid)) still runs and has no image in "
                    + "\(shellWord(directory)) yet: heapsum \(pid) reads it now, heapdump \(pid) writes a dump")
        }
        if running.count > 8 { say("and \(running.count - 8) more such programs; heaptop lists them") }
    }

    /// If a process was named that is not recorded: how to record it.
    private static func hint(for path: String) -> String {
        guard let pid = Int32(path), pid > 0, access(path, F_OK) != 0, kill(pid, 0) == 0 || errno == EPERM else {
            return ""
        }
        return "; heaprun --pid \(pid) records it from now on"
    }

    private mutating func open(_ path: String, _ kind: InputKind, _ own: SetChoice?) throws(LogError) {
        if case .log(let kind) = kind {
            logs.append(NamedLog(stream: try LogStream(path: path), kind: kind, set: own ?? .last))
            return
        }
        let stream = try LogStream(path: path)
        let head = try stream.peek(1 << 16)
        if kind == .auto, !head.starts(with: Array("heapsum\n".utf8)), let found = LogKind(head: head) {
            logs.append(NamedLog(stream: stream, kind: found, set: own ?? .last))
            return
        }
        guard kind == .image || head.starts(with: Array("heapsum\n".utf8)) else {
            if stream.storedBytes == nil, Decompressed.isCompressed(head) {
                throw LogError(
                    file: stream.name, offset: 0,
                    what: "compressed, and not a file: decompress it first, as in zstdcat FILE | heapsum -")
            }
            if head.isEmpty, let damage = stream.finish(at: 0) {
                throw LogError(file: stream.name, offset: 0, what: damage.what)
            }
            throw LogError(
                file: stream.name, offset: 0,
                what: head.isEmpty
                    ? "not a heap image, but empty"
                    : "not a heap image, and no log that is known by its first \(head.count) bytes (--input says what "
                        + "it is)"
            )
        }
        if own != nil {
            throw LogError(
                file: path, what: "sets are those of a log, and this is a heap image; --set chooses among dumps")
        }
        // An image is read at offsets, so data from a pipe or a decompressor is first copied to a file.
        if stream.storedBytes != nil && !stream.isCompressed {
            take(InputSelection.open(paths: [path]))
        } else {
            let source = try stream.spooled()
            if let damage = stream.finish(at: source.length) { failures.append("\(damage)") }
            do throws(InputError) { images.append(try HeapImage(source)) } catch { failures.append("\(error)") }
        }
    }

    private mutating func take(_ opened: (images: [HeapImage], failures: [InputError])) {
        images += opened.images
        failures += opened.failures.map { "\($0)" }
    }

    private static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return path.withPath({ stat($0, &status) }) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// `LOG@2` is set 2 of LOG, unless a file has that name.
    static func set(of path: String) -> (file: String, set: SetChoice?) {
        guard path.withPath({ access($0, F_OK) }) != 0, let at = path.lastIndex(of: "@"), at != path.startIndex,
            let set = SetChoice(argument: String(path[path.index(after: at)...]))
        else { return (path, nil) }
        return (String(path[..<at]), set)
    }
}

/// The images of a path: itself, or all `*.heap` below a directory, in order. Links are not followed.
func imagesBelow(_ path: String) -> [String] {
    var status = stat()
    guard path.withPath({ stat($0, &status) }) == 0, status.st_mode & S_IFMT == S_IFDIR else { return [path] }
    var images: [String] = [], open = [path]
    while let directory = open.popLast() {
        for name in (try? namesInDirectory(FilePath(text: directory))) ?? [] {
            let entry = "\(directory)/\(name.text)"
            guard entry.withPath({ lstat($0, &status) }) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                open.append(entry)
            } else if status.st_mode & S_IFMT == S_IFREG && entry.hasSuffix(".heap") {
                images.append(entry)
            }
        }
    }
    return images.sorted()
}

/// The first bytes of compressed data.
enum Decompressed {
    static func isCompressed(_ head: [UInt8]) -> Bool {
        head.starts(with: [0x1F, 0x8B]) || head.starts(with: [0x28, 0xB5, 0x2F, 0xFD])
    }
}
