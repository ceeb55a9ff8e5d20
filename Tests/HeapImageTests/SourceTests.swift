// Sources: an image read out of a process's memory is the one that lies there.

import CHeapImage
import Glibc
import HeapImage
import Proc
import TestSupport
import Testing

@Suite struct Sources {
    @Test func theMemoryOfAProcessIsRead() throws {
        let blocks = sampleBlocks(1000, stacks: 9, seed: 2)
        let bytes = sampleImage(HEAP_KIND_RUNNING, blocks: blocks, stacks: 9).bytes()
        let place = try #require(mmap(nil, bytes.count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        #expect(place != MAP_FAILED)
        defer { munmap(place, bytes.count) }
        UnsafeMutableRawBufferPointer(start: place, count: bytes.count).copyBytes(from: bytes)
        let source = try ProcessMemorySource(
            process: getpid(), base: UInt64(UInt(bitPattern: place)), length: UInt64(bytes.count))
        let image = try HeapImage(source)
        #expect(image.presence == .running)
        #expect(try image.census().liveBlocks == 1000)
        #expect(image.damages.isEmpty)

        // Longer than what is mapped: the part that is there counts, and the rest is damage, not an end.
        mprotect(place + bytes.count / 4096 / 2 * 4096, 4096, PROT_NONE)
        let holed = try HeapImage(source)
        let census = try holed.census()
        #expect(census.liveBlocks <= 1000)
    }

    @Test func aProcessThatIsNotThere() {
        #expect(throws: (any Error).self) { try ProcessMemorySource(process: 0x7FFF_FFF0, base: 0, length: 4096) }
    }

    @Test func ourselvesAreRunning() throws {
        let text = try #require(readFirst("/proc/self/stat"))
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        let start = try #require(UInt64(fields[19]))
        let unknownBoot = [UInt8](repeating: 0, count: 16)
        #expect(Presence.ask(processID: UInt32(getpid()), startTime: start, bootID: unknownBoot) == .running)
        #expect(Presence.ask(processID: UInt32(getpid()), startTime: start &+ 1, bootID: unknownBoot) == .gone)
        #expect(
            Presence.ask(processID: UInt32(getpid()), startTime: start, bootID: [UInt8](repeating: 9, count: 16))
                == .gone)
    }

    private func readFirst(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var buffer = [CChar](repeating: 0, count: 4096)
        guard fgets(&buffer, 4096, file) != nil else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
