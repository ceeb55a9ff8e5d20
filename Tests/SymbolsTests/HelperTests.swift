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
        #expect(try helper.ask([1, 2, 3], timeoutMilliseconds: 10_000) == [3, 2, 1])
        #expect(try helper.ask(Array("long".utf8), timeoutMilliseconds: 10_000).count == 3_000_000)
        let large = [UInt8](repeating: 9, count: 5_000_000)
        #expect(try helper.ask(large, timeoutMilliseconds: 10_000) == large)
        #expect(try helper.ask(Array("memory".utf8), timeoutMilliseconds: 10_000) == [0])
        #expect(try helper.ask(Array("pid".utf8), timeoutMilliseconds: 10_000) != Array("\(getpid())".utf8))
    }

    @Test func deathAndDelay() throws {
        let helper = helper()
        #expect(throws: HelperError.died(signal: SIGABRT)) {
            try helper.ask(Array("die".utf8), timeoutMilliseconds: 10_000)
        }
        #expect(try helper.ask([1, 2], timeoutMilliseconds: 10_000) == [2, 1])
        #expect(throws: HelperError.tookTooLong(milliseconds: 300)) {
            try helper.ask(Array("hang".utf8), timeoutMilliseconds: 300)
        }
        #expect(try helper.ask([1, 2], timeoutMilliseconds: 10_000) == [2, 1])
    }

    @Test func itEndsWithItsOwner() throws {
        var pid: pid_t = 0
        do {
            let helper = helper()
            pid = try #require(
                pid_t(String(decoding: try helper.ask(Array("pid".utf8), timeoutMilliseconds: 10_000), as: UTF8.self)))
            #expect(kill(pid, 0) == 0)
        }
        #expect(kill(pid, 0) == -1 && errno == ESRCH)
    }
}
