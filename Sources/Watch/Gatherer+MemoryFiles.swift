// Files in memory: in tmpfs, memfds, shared mappings without a name. Each is one entity with its owner and its holders
// (by descriptor or mapping), so that growth is reported for a file and a program, not for "shared memory".
//
// A file is identified by device and inode. Its size is its number of blocks, not its length: holes take no memory.

import Glibc
import Text

/// One file in memory.
struct MemoryFile {
    var name: String
    var bytes: Int64
    var user: UInt32
    /// "PID name" of each watched process that holds it.
    var holders: [String] = []

    struct Key: Hashable { var device: UInt64, inode: UInt64 }

    mutating func add(holder: String) {
        // A forking server has hundreds; the first are enough.
        if holders.count < 8, !holders.contains(holder) { holders.append(holder) }
    }
}

extension Gatherer {
    /// At most this many files are listed separately (the largest), and at most this many names are examined in each
    /// sample.
    private static let mostFiles = 64
    private static let mostEntries = 20_000
    private static let leastBytes: Int64 = 64 << 10

    /// Where tmpfs and ramfs are mounted.
    func findMemoryMounts() {
        (memoryMounts, memoryFiles, imageBytes) = ([], [:], [:])
        // A recorded tree has no file systems to ask.
        guard options.root.isEmpty else { return }
        each("/proc/self/mounts") { line in
            let words = words(line, most: 4)
            guard words.count > 2, words[2].elementsEqual("tmpfs".utf8) || words[2].elementsEqual("ramfs".utf8) else {
                return
            }
            let mount = unescaped(words[1])
            guard memoryMounts.count < 256, !memoryMounts.contains(where: { $0.path == mount }) else { return }
            var about = stat()
            guard mount.withPath({ stat($0, &about) }) == 0 else { return }
            memoryMounts.append((mount, UInt64(about.st_dev)))
        }
    }

    /// Whether a path may belong to a file in memory: a kernel's name for something without a path, or a path below
    /// such a mount.
    private func mayBeMemory(_ path: ArraySlice<UInt8>) -> Bool {
        if has(path, prefix: "/memfd:") || has(path, prefix: "/dev/zero (deleted)") || has(path, prefix: "/SYSV")
            || has(path, prefix: "/dev/shm/")
        {
            return true
        }
        return memoryMounts.contains { $0.path != "/" && path.starts(with: $0.path.utf8) }
    }

    /// Notes an open file.
    /// - Returns: a memfd's inode and bytes.
    func hold(_ link: ArraySlice<UInt8>, through path: String, by holder: String) -> (inode: UInt64, bytes: Int64)? {
        guard options.root.isEmpty, mayBeMemory(link) else { return nil }
        var about = stat()
        guard path.withPath({ stat($0, &about) }) == 0 else { return nil }
        note(about, link, holder)
        return has(link, prefix: "/memfd:") && !Self.isImageName(link)
            ? (UInt64(about.st_ino), Int64(clamping: about.st_blocks) &* 512) : nil
    }

    /// Notes a mapping: a line of /proc/PID/maps.
    func hold(mapping line: ArraySlice<UInt8>, in place: String, by holder: String) {
        // 7f..-7f.. rw-s 00000000 00:01 1024  /memfd:pool (deleted)
        guard options.root.isEmpty, let slash = line.firstIndex(of: UInt8(ascii: "/")), mayBeMemory(line[slash...])
        else { return }
        let words = words(line[..<slash])
        guard words.count == 5, let inode = number(words[4]) else { return }
        if has(line[slash...], prefix: "/SYSV") {
            segmentHolders[inode, default: []].insert(holder)
            return
        }
        var about = stat()
        guard "\(place)/map_files/\(text(words[0]))".withPath({ stat($0, &about) }) == 0 else { return }
        note(about, line[slash...], holder)
    }

    private func note(_ about: stat, _ link: ArraySlice<UInt8>, _ holder: String) {
        let isNameless = has(link, prefix: "/memfd:") || has(link, prefix: "/dev/zero")
        guard about.st_mode & S_IFMT == S_IFREG, !Self.isImageName(link),
            isNameless || memoryMounts.contains(where: { $0.device == UInt64(about.st_dev) })
        else { return }
        let key = MemoryFile.Key(device: UInt64(about.st_dev), inode: UInt64(about.st_ino))
        if memoryFiles[key] == nil {
            guard memoryFiles.count < Self.mostEntries else { return }
            memoryFiles[key] = MemoryFile(
                name: Self.fileName(text(link)), bytes: Int64(clamping: about.st_blocks) &* 512, user: about.st_uid)
        }
        memoryFiles[key]?.add(holder: holder)
    }

    /// "memfd pool", "file /dev/shm/x", "deleted file /dev/shm/y", "shared anonymous memory".
    private static func fileName(_ link: String) -> String {
        let isDeleted = link.hasSuffix(" (deleted)"), path = isDeleted ? String(link.dropLast(10)) : link
        if path.hasPrefix("/memfd:") {
            return "memfd \(path.dropFirst(7).isEmpty ? "without a name" : String(path.dropFirst(7)))"
        }
        if path == "/dev/zero" { return "shared anonymous memory" }
        return (isDeleted ? "deleted file " : "file ") + path
    }

    /// The largest files in memory, with or without holders.
    func gatherMemoryFiles() -> [EntitySample] {
        var left = Self.mostEntries
        for mount in memoryMounts { walk(mount.path, mount.device, depth: 0, &left) }
        if left == 0 {
            miss(
                "files in tmpfs by name",
                "more than \(Self.mostEntries) files: the others are in their mounts' sums alone")
        }
        let largest = memoryFiles.filter { $0.value.bytes >= Self.leastBytes }.sorted {
            ($0.value.bytes, $0.key.inode) > ($1.value.bytes, $1.key.inode)
        }.prefix(Self.mostFiles)
        return largest.map { key, file in
            var values: [Int64] = []
            setGroup("file.bytes", file.bytes, &values)
            return EntitySample(
                kind: .group, id: "file \(key.device):\(key.inode)", name: file.name,
                detail: (["user \(file.user)"] + file.holders).map { $0 + "\0" }.joined(), values: values)
        }
    }

    private func walk(_ path: String, _ device: UInt64, depth: Int, _ left: inout Int) {
        guard depth < 16, left > 0, let directory = path.withPath({ opendir($0) }) else { return }
        defer { closedir(directory) }
        let descriptor = dirfd(directory)
        while left > 0, let entry = readdir(directory) {
            left -= 1
            var about = stat()
            let isThere =
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                        fstatat(descriptor, $0, &about, AT_SYMLINK_NOFOLLOW)
                    }
                } == 0
            guard isThere, UInt64(about.st_dev) == device else { continue }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            let full = path == "/" ? "/\(name)" : "\(path)/\(name)"
            if about.st_mode & S_IFMT == S_IFDIR {
                walk(full, device, depth: depth + 1, &left)
            } else if about.st_mode & S_IFMT == S_IFREG {
                let key = MemoryFile.Key(device: device, inode: UInt64(about.st_ino)),
                    bytes = Int64(clamping: about.st_blocks) &* 512
                // heapsum's own images are nobody's growth.
                if name.hasSuffix(".heap"), path.contains("/heapsum-") {
                    imageBytes[device, default: 0] &+= bytes
                    continue
                }
                if memoryFiles[key] == nil, bytes >= Self.leastBytes {
                    memoryFiles[key] = MemoryFile(name: "file \(full)", bytes: bytes, user: about.st_uid)
                }
            }
        }
    }
}
