// Memory that belongs to no process and outlives processes: files in tmpfs, by mount, and System V segments, each with
// its owner. They are entities like control groups, so that growth is reported for the one that grows.

import Glibc
import Text

extension Gatherer {
    /// At most this many segments are listed separately: the largest.
    private static let mostSegments = 64

    func gatherShared() -> [EntitySample] {
        // Files first: they show how much of a mount are heapsum's own images.
        let files = gatherMemoryFiles()
        return gatherMounts() + files + gatherSegments()
    }

    private func gatherMounts() -> [EntitySample] {
        memoryMounts.compactMap { mount, device in
            var status = statvfs()
            guard statvfs(mount, &status) == 0, status.f_blocks >= status.f_bfree else { return nil }
            var values: [Int64] = []
            let (bytes, overflow) = Int64(clamping: status.f_blocks - status.f_bfree).multipliedReportingOverflow(
                by: Int64(clamping: status.f_frsize))
            setGroup("tmpfs.bytes", overflow ? .max : max(0, bytes &- (imageBytes[device] ?? 0)), &values)
            return EntitySample(kind: .group, id: "tmpfs " + mount, name: "tmpfs " + mount, values: values)
        }
    }

    /// A path of /proc/mounts, where a blank is written as \\040.
    func unescaped(_ path: ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = [], place = path.startIndex
        while place < path.endIndex {
            if path[place] == UInt8(ascii: "\\"), path.endIndex - place > 3 {
                let digits = path[(place + 1) ... (place + 3)].map { Int($0) - 0x30 }
                if digits.allSatisfy({ (0 ... 7).contains($0) }),
                    let byte = UInt8(exactly: digits[0] * 64 + digits[1] * 8 + digits[2])
                {
                    bytes.append(byte)
                    place += 4
                    continue
                }
            }
            bytes.append(path[place])
            place += 1
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func gatherSegments() -> [EntitySample] {
        var segments: [(bytes: Int64, id: String, name: String, holders: String)] = [], isHead = true
        each("/proc/sysvipc/shm") { line in
            defer { isHead = false }
            // key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap
            let words = words(line)
            guard !isHead, words.count >= 16, let shmid = number(words[1]), let rss = number(words[14]),
                let swap = number(words[15])
            else { return }
            let maker = known.first { $0.key.hasPrefix("\(text(words[4])):") }?.value.name
            let name =
                "System V segment \(shmid), user \(text(words[7])), made by \(text(words[4]))"
                + (maker.map { " (\($0))" } ?? "")
            let holders = (["user \(text(words[7]))"] + (segmentHolders[shmid] ?? []).sorted().prefix(8)).map {
                $0 + "\0"
            }.joined()
            segments.append((rss.addingReportingOverflow(swap).partialValue, "shm \(shmid)", name, holders))
        }
        return segments.sorted { $0.bytes > $1.bytes }.prefix(Self.mostSegments).map { segment in
            var values: [Int64] = []
            setGroup("sysvipc.bytes", max(segment.bytes, 0), &values)
            return EntitySample(
                kind: .group, id: segment.id, name: segment.name, detail: segment.holders, values: values)
        }
    }
}
