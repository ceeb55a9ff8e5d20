import Testing
@testable import Symbols
@Test func libc() throws {
    let m = try ModuleSymbols(path: "/usr/lib/x86_64-linux-gnu/libc.so.6", expectedBuildID: nil)
    print(m.buildID.map(hexadecimal) ?? "none")
    for a in [0x99000, 0x27300, 0x100000] { print(m.name(at: UInt64(a)) as Any) }
}
