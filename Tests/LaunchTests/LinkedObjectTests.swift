// What a program is linked with, held against the loader's own list of it (ldd), and on files that lie.

import Glibc
import Proc
import SystemPackage
import TestSupport
import Testing

@testable import Launch

@Suite struct LinkedObjectTests {
    private func objects(_ path: String, preloaded: String? = nil, libraryPath: String? = nil) -> Set<String> {
        var found: Set<String> = []
        _ = linkedObject(of: FilePath(path), preloaded: preloaded, libraryPath: libraryPath) { object in
            found.insert(object.real?.string ?? object.string)
            return false
        }
        return found
    }

    #if arch(arm64)
        private static let loader = "/lib/ld-linux-aarch64.so.1"
    #else
        private static let loader = "/lib64/ld-linux-x86-64.so.2"
    #endif

    /// The loader's own list; it always names itself, which a program needn't.
    private func listed(_ path: String, in scratch: Scratch, variables: [String: String?] = [:]) throws -> Set<String>?
    {
        let outcome = try scratch.run([Self.loader, "--list", path], variables: variables)
        guard outcome.exitStatus == 0 else { return nil }
        var found: Set<String> = []
        for line in outcome.output.split(separator: "\n") {
            guard let end = line.firstRange(of: " (0x"), let file = line[..<end.lowerBound].split(separator: " ").last
            else { continue }
            let name = String(file.drop { $0 == "\t" })
            if name.hasPrefix("/") { found.insert(FilePath(name).real?.string ?? name) }
        }
        return found
    }

    @Test func theMachinesProgramsAreLinkedAsTheLoaderSays() throws {
        let scratch = try Scratch()
        let programs = try scratch.shell(
            "find /usr/bin /usr/sbin -type f -executable -size +8k | sort | awk 'NR % 3 == 0'"
        ).output.split(separator: "\n").map(String.init)
        let loader = try #require(FilePath(Self.loader).real?.string)
        var compared = 0, most = 0
        for path in programs {
            guard let wanted = try listed(path, in: scratch), wanted.count > 1 else { continue }
            #expect(objects(path).union([loader]) == wanted.union([loader]), "\(path)")
            compared += 1
            most = max(most, wanted.count)
        }
        #expect(compared >= 100 && most >= 20, "\(compared) programs, \(most) objects")
    }

    @Test func pathsAreSearchedInTheLoadersOrder() throws {
        let scratch = try Scratch()
        try scratch.prepare(
            """
            mkdir one two three
            echo 'int leaf(void) { return 1; }' > leaf.c
            echo 'int leaf(void); int middle(void) { return leaf(); }' > middle.c
            echo 'int middle(void); int main(void) { return middle(); }' > main.c
            for d in one two three; do cc -shared -fPIC -Wl,-soname,libleaf.so -o $d/libleaf.so leaf.c; done
            cc -shared -fPIC -Wl,-soname,libmiddle.so -o two/libmiddle.so middle.c -Ltwo -lleaf
            cc -shared -fPIC -Wl,-soname,libmiddle.so -o three/libmiddle.so middle.c -Wl,--enable-new-dtags \
            -Wl,-rpath,'$ORIGIN' -Lthree -lleaf
            cc -o old main.c -Wl,--disable-new-dtags -Wl,-rpath,'$ORIGIN/one:$ORIGIN/two' -Ltwo -lmiddle \
            -Wl,-rpath-link,two
            cc -o new main.c -Wl,--enable-new-dtags -Wl,-rpath,'${ORIGIN}/three' -Lthree -lmiddle -Wl,-rpath-link,three
            cc -o bare main.c -Ltwo -lmiddle -Wl,-rpath-link,two
            """)
        let loader = try #require(FilePath(Self.loader).real?.string)
        let here = scratch.path
        for (program, libraryPath, preloaded) in [
            ("old", nil, nil), ("new", nil, nil), ("new", "\(here)/two", nil), ("old", "\(here)/three", nil),
            ("bare", "\(here)/two:\(here)/one", nil),
            ("bare", "\(here)/one;\(here)/three", nil), ("bare", "\(here)/two", "\(here)/three/libleaf.so"),
        ] as [(String, String?, String?)] {
            let wanted = try #require(
                try listed(
                    "\(here)/\(program)", in: scratch,
                    variables: ["LD_LIBRARY_PATH": libraryPath, "LD_PRELOAD": preloaded]))
            // An object that comes by LD_PRELOAD stands for its soname; the search alone would add the one that it
            // hides.
            let found = objects("\(here)/\(program)", preloaded: preloaded, libraryPath: libraryPath).union([loader])
            #expect(
                preloaded == nil ? found == wanted : found.isSuperset(of: wanted),
                "\(program) \(libraryPath ?? "") \(found) \(wanted)")
        }
    }

    /// Cut off at each length, and with each byte of its headers and tables changed: no trap, and an answer.
    @Test func liesOfFilesAreSurvived() throws {
        let scratch = try Scratch()
        try scratch.prepare(
            "echo 'int main(void) { return 0; }' > a.c && cc -Wl,-z,noseparate-code -Wl,-rpath,/x -o a a.c && strip a")
        let path = "\(scratch.path)/a", bytes = try readBytes(FilePath(path), limit: 1 << 20)
        #expect(DynamicObject(FilePath(path))?.needed == ["libc.so.6"])
        var generator = SeededGenerator(seed: 11)
        let lie = "\(scratch.path)/lie"
        func write(_ bytes: [UInt8]) {
            let descriptor = open(lie, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            defer { close(descriptor) }
            #expect(bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) } == bytes.count)
        }
        for length in stride(from: 0, to: bytes.count, by: 37) {
            write(Array(bytes[..<length]))
            _ = objects(lie)
        }
        for _ in 0 ..< 3000 {
            var changed = bytes
            for _ in 0 ..< 3 {
                changed[Int.random(in: 0 ..< min(bytes.count, 0x400), using: &generator)] = UInt8.random(
                    in: 0 ... 255, using: &generator)
            }
            write(changed)
            _ = objects(lie)
        }
        let cache = try readBytes("/etc/ld.so.cache", limit: 1 << 20)
        #expect(LoaderCache(cache).path(of: "libc.so.6") != nil)
        for _ in 0 ..< 200 {
            var changed = cache
            for _ in 0 ..< 20 {
                changed[Int.random(in: 0 ..< min(cache.count, 4096), using: &generator)] = UInt8.random(
                    in: 0 ... 255, using: &generator)
            }
            _ = LoaderCache(Array(changed.prefix(Int.random(in: 0 ... cache.count, using: &generator)))).path(
                of: "libc.so.6")
        }
    }
}
