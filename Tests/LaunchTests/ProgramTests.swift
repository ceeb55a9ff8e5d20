// Which file a name stands for, and what can't be recorded. Oracle: the shell's own lookup and statuses, and
// programs that the C compiler makes of the kinds in question.

import Glibc
import Proc
import SystemPackage
import TestSupport
import Testing

@testable import Launch

@Suite struct ProgramTests {
    @Test func namesAreFoundAsTheShellFindsThem() throws {
        let scratch = try Scratch()
        for name in ["sh", "cc", "ls", "python3"] {
            let expected = try scratch.run(["/bin/sh", "-c", "command -v \(name)"]).output.split(separator: "\n").first
                .map(String.init)
            #expect(
                try findProgram(FilePath(name), searchPath: getenv("PATH").map { String(cString: $0) }).string
                    == expected)
        }
        try scratch.prepare("mkdir a b; echo '#!/bin/sh' > a/tool; cp a/tool b/tool; chmod 755 b/tool")
        // Not executable in the first directory: sought further.
        #expect(
            try findProgram("tool", searchPath: "\(scratch.path)/a:\(scratch.path)/b").string
                == "\(scratch.path)/b/tool")
        #expect(throws: LaunchError.notExecutable("\(scratch.path)/a/tool: Permission denied")) {
            try findProgram("tool", searchPath: "\(scratch.path)/a:/nonexistent")
        }
        #expect(throws: LaunchError.notFound("tool: not found in PATH")) {
            try findProgram("tool", searchPath: "/nonexistent")
        }
        #expect { try findProgram(FilePath("\(scratch.path)/a"), searchPath: nil) } throws: {
            ($0 as? LaunchError)?.exitStatus == 126
        }
        #expect { try findProgram("", searchPath: nil) } throws: { ($0 as? LaunchError)?.exitStatus == 127 }
    }

    @Test func scriptsLeadToTheirInterpreter() throws {
        let scratch = try Scratch()
        try scratch.write("one", "#!/bin/sh -e\n", mode: 0o755)
        try scratch.write("two", "#! \(scratch.path)/one\n", mode: 0o755)
        try scratch.write("bare", "echo hello\n", mode: 0o755)
        try scratch.write("loop", "#!\(scratch.path)/loop\n", mode: 0o755)
        try scratch.write("lost", "#!/nonexistent/sh\n", mode: 0o755)
        try scratch.write("binary", "\u{1}\u{0}\u{2}", mode: 0o755)
        #expect(try resolveProgram(FilePath("\(scratch.path)/two")).loaded == "/bin/sh")
        let bare = try resolveProgram(FilePath("\(scratch.path)/bare"))
        #expect(bare.executable == "/bin/sh" && bare.shellScript?.string == "\(scratch.path)/bare")
        #expect { try resolveProgram(FilePath("\(scratch.path)/loop")) } throws: {
            ($0 as? LaunchError)?.exitStatus == 126
        }
        #expect { try resolveProgram(FilePath("\(scratch.path)/lost")) } throws: {
            ($0 as? LaunchError)?.exitStatus == 127
        }
    }

    @Test(arguments: [
        ("-static", "statically linked"), ("-static-pie", "static PIE"),
        ("-Wl,--dynamic-linker=/lib/ld-uClibc.so.1", "uClibc"),
    ]) func whatCannotBePreloadedIsRefused(flag: String, reason: String) throws {
        let scratch = try Scratch()
        try scratch.prepare("echo 'int main(void){return 0;}' | cc \(flag) -x c -o program -")
        let outcome = try scratch.record(["./program"])
        #expect(outcome.exitStatus == 125)
        #expect(outcome.messages.contains(reason))
        // Through a script it is no better.
        try scratch.write("script", "#!\(scratch.path)/program\n", mode: 0o755)
        #expect(try scratch.record(["./script"]).exitStatus == 125)
    }

    @Test(.enabled(if: geteuid() == 0, "only root can make a file that belongs to another"))
    func aSetuidProgramIsRefused() throws {
        let scratch = try Scratch()
        try scratch.prepare("chmod 755 . && cp /bin/true program && chown 65534 program && chmod u+s program")
        let outcome = try scratch.record(["./program"])
        #expect(outcome.exitStatus == 125)
        #expect(outcome.messages.contains("setuid"))
        // Its own owner gains nothing by it, and nothing stands in the way.
        try scratch.prepare("chown 0 program && chmod u+s program")
        #expect(try scratch.record(["./program"]).exitStatus == 0)
    }

    @Test func anotherArchitectureIsRefused() throws {
        let scratch = try Scratch()
        // The machine field of a real program, changed.
        try scratch.prepare(
            "cp /bin/true program && printf '\\363\\000' | dd of=program bs=1 seek=18 conv=notrunc 2>/dev/null")
        let outcome = try scratch.record(["./program"])
        #expect(outcome.exitStatus == 125)
        #expect(outcome.messages.contains("RISC-V"))
        try scratch.prepare(
            "cp /bin/true program && printf '\\001' | dd of=program bs=1 seek=4 conv=notrunc 2>/dev/null")
        #expect(try scratch.record(["./program"]).messages.contains("32-bit"))
    }

    @Test func theLoaderItselfIsNotRefused() throws {
        let scratch = try Scratch()
        let loader = try scratch.shell("readelf -p .interp /bin/true | grep -o '/[^ ]*$'").output.split(separator: "\n")
            .first.map(String.init)
        #expect(try scratch.record([try #require(loader), "/bin/echo", "hello"]).output == "hello\n")
    }

    @Test func damagedHeadersEndInAnAnswer() throws {
        var head = try readBytes("/bin/true", limit: 4096)
        var generator = SystemRandomNumberGenerator()
        let original = head
        for _ in 0 ..< 5000 {
            head = original
            for _ in 0 ..< Int.random(in: 1 ... 4, using: &generator) {
                head[Int.random(in: 0 ..< 800, using: &generator)] = UInt8.random(in: 0 ... 255, using: &generator)
            }
            if Bool.random(using: &generator) { head.removeLast(Int.random(in: 0 ... head.count, using: &generator)) }
            // Whatever it says, it says it without a trap.
            _ = try? checkElf(head, path: "/bin/true")
        }
        #expect(throws: Never.self) { try checkElf(original, path: "/bin/true") }
    }

    @Test func theLibraryIsSoughtWhereItIsInstalled() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkdir -p bin lib/heapsum 'sp ace'; touch lib/heapsum/libheapsum.so 'sp ace/l.so'")
        let tool = FilePath("\(scratch.path)/bin/heaprun")
        #expect(try findLibrary(named: nil, tool: tool).string == "\(scratch.path)/lib/heapsum/libheapsum.so")
        try scratch.prepare("touch bin/libheapsum.so")
        #expect(try findLibrary(named: nil, tool: tool).string == "\(scratch.path)/bin/libheapsum.so")
        #expect(throws: LaunchError.self) { try findLibrary(named: "\(scratch.path)/sp ace/l.so", tool: tool) }
        #expect(throws: LaunchError.self) { try findLibrary(named: "\(scratch.path)/missing.so", tool: tool) }
        #expect(throws: LaunchError.self) { try findLibrary(named: nil, tool: "/nonexistent/bin/heaprun") }
    }
}
