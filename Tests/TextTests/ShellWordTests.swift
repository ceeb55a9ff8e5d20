// Words for a shell are read back by a real one, whatever names they are made of.

import Glibc
import TestSupport
import Testing
import Text

@Suite struct ShellWordTests {
    /// What bash reads of words, each followed by a NUL, as bytes.
    private func readBack(_ words: [String], by shell: String = "bash", locale: String = "C.UTF-8") throws -> [[UInt8]]
    {
        let scratch = try Scratch()
        // By a file: a command line would end at a NUL, and has a limit.
        let script = "printf '%s\\0' \(words.joined(separator: " "))"
        guard let file = fopen(scratch.path + "/script", "we") else { throw Failure("no script") }
        fputs(script, file)
        fclose(file)
        let outcome = try scratch.run(["sh", "-c", "\(shell) script > bytes"], variables: ["LC_ALL": locale])
        guard outcome.exitStatus == 0 else { throw Failure("\(outcome)") }
        return try Array(
            fileBytes(scratch.path + "/bytes").split(separator: 0, omittingEmptySubsequences: false).map(Array.init)
                .dropLast())
    }

    private func fileBytes(_ path: String) throws -> [UInt8] {
        guard let file = fopen(path, "r") else { throw Failure(path) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte >= 0 { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        return bytes
    }

    private static let hostile = [
        "plain", "two words", "it's", "'", "''", "$HOME", "`id`", "$(id)", "a;b", "", "*", "ü", "a\\b", "\\", "\\\\n",
        "\\'", "a\nb", "\n", "\t", "a\rb",
        "\u{1B}[31m", "\u{7}7", "\u{1}F", "\u{202E}evil", "\u{9B}2J", "!history", "~root", "{a,b}", "#comment", "a=b",
        "-o=x", "--", "\"", "\u{7F}", "日本",
        "-n", "a\\x41", "$'x'", "&", "|", "<", ">", "(", "\u{FEFF}", "a\u{200B}9", "if", "%s", "a b\\\n'",
    ]

    @Test(arguments: ["C.UTF-8", "C"]) func bashReadsHostileNamesBack(locale: String) throws {
        let words = Self.hostile.map(shellWord)
        #expect(try readBack(words, locale: locale) == Self.hostile.map { Array($0.utf8) })
    }

    @Test func zshReadsThemToo() throws {
        #expect(try readBack(Self.hostile.map(shellWord), by: "zsh") == Self.hostile.map { Array($0.utf8) })
    }

    @Test(arguments: 1 ... 4 as ClosedRange<UInt64>) func bashReadsAnyPathBack(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let often = Array("'\\\"$`x1 \n\u{1B}fF0".utf8)
        let paths = (0 ..< 400).map { _ in
            (0 ..< Int.random(in: 0 ... 12, using: &random)).map { _ in
                Bool.random(using: &random)
                    ? UInt8.random(in: 1 ... 255, using: &random)
                    : often[Int.random(in: 0 ..< often.count, using: &random)]
            }
        }
        #expect(try readBack(paths.map { shellWord(pathText($0)) }) == paths)
    }

    @Test func aWordIsFitForATerminal() {
        for byte in UInt8(1) ... 255 {
            let word = shellWord(pathText([byte]))
            #expect(
                printable(word).split(separator: "\\", omittingEmptySubsequences: true)
                    == word.split(separator: "\\", omittingEmptySubsequences: true), "\(byte)")
        }
        #expect(shellWord("/usr/bin/x-1_2.so+3,4:5@6%") == "/usr/bin/x-1_2.so+3,4:5@6%")
        #expect(shellWord("--opt=1") == "--opt=1" && shellWord("a=1") == "'a=1'")
    }
}
