import Testing

@Suite(.serialized, .heapBudget("64K"))
struct SessionTests {
    nonisolated(unsafe) static var sessions: [[UInt8]] = []

    @inline(never) static func openSession() -> [UInt8] { [UInt8](repeating: 1, count: 1 << 20) }

    @Test func givesBack() {
        #expect(Self.openSession().count == 1 << 20)
    }

    @Test func keeps() {
        Self.sessions.append(Self.openSession())
    }
}
