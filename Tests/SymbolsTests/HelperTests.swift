// The helper process: it answers, and when it dies, hangs or eats its memory, that is told, and the next
// question has another.

import Glibc
import Testing

@testable import Symbols

@Suite struct HelperTests {
    private func helper() -> Helper {
        Helper(memoryByteCount: 64 << 20) { question in
            switch question.first {
            case UInt8(ascii: "d"): abort()
            case UInt8(ascii: "h"): while true { sleep(100) }
            case UInt8(ascii: "m"): return malloc(1 << 30) == nil ? [0] : [1]
            case UInt8(ascii: "l"): return [UInt8](repeating: 7, count: 3_000_000)
            case UInt8(ascii: "p"): return Array("\(getpid())".utf8)
            default: return question.reversed()
            }
        }
    }

    @Test func answers() throws {
        let helper = helper()
        #expect(try helper.ask([1, 2, 3], timeoutMilliseconds: 600_000) == [3, 2, 1])
        #expect(try helper.ask(Array("long".utf8), timeoutMilliseconds: 600_000).count == 3_000_000)
        let large = [UInt8](repeating: 9, count: 5_000_000)
        #expect(try helper.ask(large, timeoutMilliseconds: 600_000) == large)
        #expect(try helper.ask(Array("memory".utf8), timeoutMilliseconds: 600_000) == [0])
        #expect(try helper.ask(Array("pid".utf8), timeoutMilliseconds: 600_000) != Array("\(getpid())".utf8))
    }

    @Test func deathAndDelay() throws {
        let helper = helper()
        #expect(throws: HelperError.died(signal: SIGABRT)) {
            try helper.ask(Array("die".utf8), timeoutMilliseconds: 600_000)
        }
        #expect(try helper.ask([1, 2], timeoutMilliseconds: 600_000) == [2, 1])
        #expect(throws: HelperError.tookTooLong(milliseconds: 300)) {
            try helper.ask(Array("hang".utf8), timeoutMilliseconds: 300)
        }
        #expect(try helper.ask([1, 2], timeoutMilliseconds: 600_000) == [2, 1])
    }

    /// Another thread holds a lock when the helper is forked, and the helper needs it: at the first question, or at a
    /// later one. It is asked again once the lock is free, and given up if the lock never is.
    @Test(arguments: [true, false]) func aLockHeldAtTheForkIsSeen(isReleased: Bool) throws {
        let shared = UnsafeMutablePointer<Held>.allocate(capacity: 1)
        defer { shared.deallocate() }
        shared.initialize(to: Held())
        try #require(pipe(&shared.pointee.asked) == 0 && sem_init(&shared.pointee.lock, 0, 0) == 0)
        defer { shared.pointee.asked.withUnsafeBufferPointer { $0.forEach { close($0) } } }
        let helper = Helper(memoryByteCount: 64 << 20) { question in
            if question.isEmpty { return [] }
            write(shared.pointee.asked[1], [1], 1)
            sem_wait(&shared.pointee.lock)
            return question.reversed()
        }
        guard isReleased else {
            #expect(throws: HelperError.waitsForALock) { try helper.ask([1, 2], timeoutMilliseconds: 600_000) }
            return
        }
        var holder = pthread_t()
        try #require(
            pthread_create(
                &holder, nil,
                { shared in
                    let shared = shared?.assumingMemoryBound(to: Held.self)
                    var byte: UInt8 = 0
                    read(shared?.pointee.asked[0] ?? -1, &byte, 1)
                    if let shared { sem_post(&shared.pointee.lock) }
                    return nil
                }, shared) == 0)
        #expect(try helper.ask([1, 2], timeoutMilliseconds: 600_000) == [2, 1])
        pthread_join(holder, nil)
    }

    private struct Held {
        /// The helper writes into this pipe before it takes the lock.
        var asked: [CInt] = [-1, -1]
        var lock = sem_t()
    }

    @Test func itEndsWithItsOwner() throws {
        var pid: pid_t = 0
        do {
            let helper = helper()
            pid = try #require(
                pid_t(String(decoding: try helper.ask(Array("pid".utf8), timeoutMilliseconds: 600_000), as: UTF8.self)))
            #expect(kill(pid, 0) == 0)
        }
        #expect(kill(pid, 0) == -1 && errno == ESRCH)
    }
}
