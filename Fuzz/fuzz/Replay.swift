// Reads files as they are, or rounds of one file damaged at random: bytes flipped, numbers replaced by
// ones that are dear to faults, parts copied over others, the end cut off. A seed says which.

import FuzzSurface
import Glibc
import TestSupport

struct Replay {
    private let surface: Surface
    private var files: [String] = []
    private var seed: UInt64 = 0
    private var rounds = 0
    /// A limit to run into, so that a test sees that they hold.
    private var check: String?

    init(_ surface: Surface, _ arguments: [String]) {
        self.surface = surface
        var rest = arguments[...]
        while let word = rest.popFirst() {
            switch word {
            case "--seed": seed = rest.popFirst().flatMap { UInt64($0) } ?? 0
            case "--rounds": rounds = rest.popFirst().flatMap { Int($0) } ?? 0
            case "--check-limits": check = rest.popFirst()
            default: files.append(word)
            }
        }
    }

    /// The exit status: 0 where everything was read within its limits and said the same twice.
    func run() -> Int32 {
        var worst = (milliseconds: 0, bytes: 0), count = 0
        func note(_ taken: (milliseconds: Int, bytes: Int)) {
            worst = (max(worst.milliseconds, taken.milliseconds), max(worst.bytes, taken.bytes))
            count += 1
        }
        if let check { runInto(check) }
        do {
            // What the first read sets up (tables of Unicode, caches of types) is no input's doing.
            try? surface.read([])
            for file in files {
                let original = try bytesOf(file)
                try? surface.read(original)
                print("\(file): \(original.count) bytes")
                var limits = Limits(bytes: original.count)
                try surface.read(path: file)
                note(limits.end())
                var random = SeededGenerator(seed: seed)
                for round in 0 ..< rounds {
                    let damaged = damage(original, &random)
                    print("\(file): seed \(seed), round \(round): \(damaged.count) bytes")
                    limits = Limits(bytes: damaged.count)
                    try surface.read(damaged)
                    note(limits.end())
                }
            }
        } catch {
            print("failed: \(error)")
            return 1
        }
        print("read \(count): at most \(worst.milliseconds) ms of processor time and \(worst.bytes) bytes of memory")
        return 0
    }

    /// Takes more than an input of no bytes may, and so ends by a signal.
    private func runInto(_ limit: String) {
        _ = Limits(bytes: 0)
        if limit == "memory" {
            // As an array does that believes a count: without the memory Swift traps.
            var bytes: [UInt8] = []
            bytes.reserveCapacity(Limits.spareBytes * 2)
            print("\(bytes.capacity) bytes were to be had")
        }
        while limit == "time" {}
    }

    private func damage(_ original: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = original
        // Half of all damage goes to the first 4 KB, where the numbers stand that all others hang on.
        func place(_ count: Int) -> Int {
            let end = max(1, bytes.count - count)
            return Int.random(in: 0 ..< (Bool.random(using: &random) ? min(end, 4096) : end), using: &random)
        }
        for _ in 0 ..< Int.random(in: 1 ... 6, using: &random) where bytes.count > 16 {
            switch Int.random(in: 0 ..< 8, using: &random) {
            case 0 ... 2: bytes[place(1)] ^= 1 << UInt8.random(in: 0 ... 7, using: &random)
            case 3: bytes[place(1)] = UInt8.random(in: 0 ... 255, using: &random)
            case 4, 5:
                let values: [UInt64] = [
                    0, 1, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 32, 1 << 47, .max >> 1, 1 << 63, .max,
                    UInt64(bytes.count), UInt64(bytes.count) - 1, UInt64(bytes.count) &* 1000,
                ]
                let value = values.randomElement(using: &random) ?? 0,
                    width = [2, 4, 8].randomElement(using: &random) ?? 8
                let start = place(8) / width * width
                for byte in 0 ..< width { bytes[start + byte] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte))) }
            case 6:
                let length = Int.random(in: 1 ... min(64, bytes.count / 2), using: &random)
                let from = place(length), to = place(length)
                bytes.replaceSubrange(to ..< to + length, with: Array(bytes[from ..< from + length]))
            default: bytes.removeLast(Int.random(in: 0 ..< bytes.count, using: &random))
            }
        }
        return bytes
    }

    private func bytesOf(_ path: String) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        var bytes: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return bytes
    }
}
