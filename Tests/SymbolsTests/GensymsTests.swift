// The gensyms command as people and scripts see it: its two streams, its forms, its exit status.

import TestSupport
import Testing

@testable import Symbols

/// The gensyms command, built into the same directory as these tests.
func gensyms(_ arguments: String, status: CInt = 0, errors: Bool = false) throws -> String {
    let streams = errors ? "2>&1 >/dev/null" : "2>/dev/null"
    return String(
        decoding: try shell("'\(Built.products)/gensyms' \(arguments) \(streams)", expecting: status), as: UTF8.self)
}

@Suite struct GensymsTests {
    private func made(_ directory: Scratch) throws -> String {
        var places = HandmadeELF.Places()
        return try directory.write(
            HandmadeELF(symbols: [
                .init(name: "src/queue.c", value: 0, byteCount: 0, info: 0x04, section: 0xFFF1),
                .init(name: "queue_grow", value: 0x1060, byteCount: 0x22, info: 0x02),
                .init(name: "quote\"\\\u{1B}[31m", value: 0x1090, byteCount: 0, info: 0x02),
                .init(name: "queue_register", value: 0x1000, byteCount: 0x60),
            ]).bytes(&places), to: "made")
    }

    @Test func text() throws {
        let directory = try Scratch()
        let path = try made(directory)
        let register = "0000000000001000 T queue_register 60\n"
        let grow = "0000000000001060 t queue_grow 22\n"
        let quote = "0000000000001090 t quote\"\\\\x1b[31m 70\n"
        #expect(try gensyms("'\(path)'") == register + grow + quote)
        #expect(try gensyms("--sort name '\(path)'") == grow + register + quote)
        #expect(try gensyms("--sort size '\(path)'") == grow + register + quote)
        #expect(try gensyms("--source '\(path)'") == register + "Src: src/queue.c\n" + grow + quote)
    }

    @Test func json() throws {
        let directory = try Scratch()
        let path = try made(directory)
        #expect(
            try gensyms("--format json '\(path)'") == """
                {"schema":"gensyms/1","files":[{"path":"\(path)","buildID":"0102030405060708","symbols":[
                {"address":4096,"type":"T","name":"queue_register","size":96,"source":null},
                {"address":4192,"type":"t","name":"queue_grow","size":34,"source":"src/queue.c"},
                {"address":4240,"type":"t","name":"quote\\"\\\\\\u001b[31m","size":112,"source":"src/queue.c"}]}]}

                """)
    }

    @Test func severalFilesAndABadOne() throws {
        let directory = try Scratch()
        let path = try made(directory)
        let bad = try directory.write(
            Array("\u{7F}ELF and no more, but long enough to be looked at in earnest".utf8), to: "bad")
        let arguments = "'\(path)' '\(bad)' '\(directory.path)/missing' '\(path)'"
        let output = try gensyms(arguments, status: 2)
        #expect(output.split(separator: "\n").filter { $0.hasPrefix("File: ") } == ["File: \(path)", "File: \(path)"])
        #expect(output.split(separator: "\n").filter { $0.contains("queue_grow") }.count == 2)
        let messages = lines(Array(try gensyms(arguments, status: 2, errors: true).utf8))
        #expect(messages.count == 2)
        #expect(messages.first == "gensyms: \(bad): byte 4: damaged: ELF class 32")
        #expect(messages.last == "gensyms: \(directory.path)/missing: cannot be read: No such file or directory")
        #expect(try gensyms("--format json \(arguments)", status: 2).hasSuffix("}]}]}\n"))
    }

    @Test func arguments() throws {
        #expect(try gensyms("--help").contains("EXAMPLES"))
        _ = try gensyms("", status: 64)
        _ = try gensyms("--sort colour /bin/sh", status: 64)
    }

    @Test func sourcesFromDWARF() throws {
        let directory = try Scratch()
        try shell("mkdir '\(directory.path)/src'")
        let source = """
            namespace app { static int counter = 3; int grow(int x) { return x + counter++; }
            static int hidden(int x) { return x * counter; }
            int use(int x) { return hidden(x); } }

            """
        _ = try directory.write(Array(source.utf8), to: "src/queue.cc")
        _ = try directory.write(Array("int main() { return 0; }\n".utf8), to: "src/main.cc")
        for flags in ["-gdwarf-4", "-gdwarf-5"] {
            try shell("cd '\(directory.path)' && c++ \(flags) -O0 -o app src/queue.cc src/main.cc")
            let output = try gensyms("--source --demangle '\(directory.path)/app'")
            let groups = output.components(separatedBy: "Src: ")
            let queue = try #require(groups.first { $0.hasPrefix("src/queue.cc\n") }),
                main = try #require(groups.first { $0.hasPrefix("src/main.cc\n") })
            for name in [" T app::grow(int) ", " t app::hidden(int) ", " T app::use(int) ", " d app::counter "] {
                #expect(queue.contains(name), "\(flags)\(name)")
            }
            #expect(main.contains(" T main ") && !main.contains("app::"))
            #expect(groups.filter { $0.hasPrefix("queue.cc") }.isEmpty)
        }
        // Without DWARF .symtab says what it knows.
        try shell("cd '\(directory.path)' && c++ -O0 -o app src/queue.cc src/main.cc")
        let bare = try gensyms("--source '\(directory.path)/app'").components(separatedBy: "Src: ")
        #expect(bare.first { $0.hasPrefix("queue.cc\n") }?.contains(" t _ZN3appL6hiddenEi ") == true)
        #expect(bare[0].contains(" T _ZN3app4growEi "))
    }

    @Test func anArchiveIsSaidToBeOne() throws {
        let directory = try Scratch()
        let object = try directory.compile("int f(void) { return 1; }", flags: "-c", to: "f.o")
        try shell("ar rc '\(directory.path)/lib.a' '\(object)'")
        #expect(try gensyms("'\(directory.path)/lib.a'", status: 2, errors: true).contains("lib.a: an archive"))
    }
}
