// The library as the loader sees it: what it needs, what it exports, and that C++ exceptions don't notice it. Oracles:
// readelf, nm, the loader's own resolution, callgrind.

import TestSupport
import Testing

@Suite struct LibraryTests {
    private func lines(_ command: String) throws -> [[String]] {
        let outcome = try Scratch().shell(command)
        guard outcome.exitStatus == 0 else { throw Failure("\(command): \(outcome.messages)") }
        return outcome.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    }

    /// What a library may ask for by name, each with its reason. A program may define any name that isn't here.
    private static let allowed = [
        "__errno_location":
            "errno lies in libc's thread data. No program may define a name of this form, and the program's errno is "
            + "what a hook sets",
        "_r_debug": "glibc's list of modules. Reserved likewise; weak, as musl has another",
        "_dl_debug_addr": "musl's list of modules; weak, as glibc has another",
        "heapsum_booking":
            "what the allocators' libraries book by: libheapsum.so's own; weak, as they also run without it",
        // What the compiler's own start and end files ask for, all of it weak.
        "__cxa_finalize": "crtbeginS.o: destructors, of which there are none",
        "__gmon_start__": "crti.o: gprof",
        "_ITM_deregisterTMCloneTable": "crtbeginS.o: transactional memory",
        "_ITM_registerTMCloneTable": "crtbeginS.o: likewise",
    ]

    @Test(arguments: ["libheapsum.so", "libheapsum-jemalloc.so", "libheapsum-tcmalloc.so", "libheapsum-mappings.so"])
    func itCallsNothingByName(
        name: String
    ) throws {
        let library = Built.interposer.replacing("libheapsum.so", with: name)
        let undefined = try lines("nm -D --undefined-only '\(library)'").compactMap {
            $0.last?.split(separator: "@").first.map(String.init)
        }
        #expect(undefined.contains("__errno_location"), "nm's form is another: \(undefined)")
        #expect(undefined.filter { Self.allowed[$0] == nil } == [])
        // Nor its own names, which a program's of that name would take the place of: the loader binds by none but
        // these.
        let bound = try lines("readelf -rW '\(library)'").filter {
            $0.count > 4 && $0[0].allSatisfy(\.isHexDigit) && !$0[2].hasSuffix("_RELATIVE")
        }
        .compactMap { $0[4].split(separator: "@").first.map(String.init) }
        #expect(!bound.isEmpty && bound.filter { Self.allowed[$0] == nil } == [])
    }

    @Test func itNeedsLibcAndNothingElse() throws {
        let needed = try lines("readelf -dW '\(Built.interposer)'").filter { $0.contains("(NEEDED)") }.compactMap {
            $0.last
        }
        // libdl, which dlclose and dlopen are in before glibc 2.34.
        #expect(Set(needed) == ["[libc.so.6]", "[libdl.so.2]"], "\(needed)")
    }

    @Test func itLoadsUnderAnOlderLibc() throws {
        // Newest version asked for by any symbol: 2.28 at the most.
        let versions = try lines("readelf -VW '\(Built.interposer)'").flatMap { $0 }.filter { $0.hasPrefix("GLIBC_2.") }
        #expect(!versions.isEmpty)
        for version in versions {
            let numbers = version.dropFirst("GLIBC_".count).split(separator: ".").compactMap { Int($0) }
            #expect(numbers.count >= 2 && (numbers[0], numbers[1]) <= (2, 28), "\(version)")
        }
    }

    @Test func itExportsTheInterposedNamesAlone() throws {
        let exported = try lines("nm -D --defined-only '\(Built.interposer)'").compactMap { $0.last }
        // And what heapsum.h declares, and what the libraries for allocators' own functions book by.
        // And what heaprun calls in a program that runs already.
        let own = [
            "heapsum_dump", "heapsum_mark", "heapsum_tag", "heapsum_pause", "heapsum_resume", "heapsum_booking",
            "heapsum_attach", "heapsum_detach", "heapsum_leaks", "heapsum_ignore", "heapsum_root", "heapsum_unroot",
            "heapsum_pool_allocated", "heapsum_pool_freed", "heapsum_pool_destroyed",
            // What a reader of the process's memory looks for.
            "heapsum_hints", "heapsum_control",
            // LeakSanitizer's.
            "__lsan_disable", "__lsan_enable", "__lsan_ignore_object", "__lsan_register_root_region",
            "__lsan_unregister_root_region", "__lsan_do_leak_check", "__lsan_do_recoverable_leak_check",
        ]
        // Each by its name, in no version but where an older one differs.
        #if arch(arm64)
            let versioned = ["cfree@GLIBC_2.17"] // glibc's first version there
        #else
            let versioned = [
                "cfree@GLIBC_2.2.5", "posix_spawn@GLIBC_2.2.5", "posix_spawnp@GLIBC_2.2.5", "posix_spawn@@GLIBC_2.15",
                "posix_spawnp@@GLIBC_2.15",
            ]
        #endif
        let plain = try interposedNames().filter { name in !versioned.contains { $0.hasPrefix(name + "@") } }
        let versions = ["HEAPSUM_NONE", "GLIBC_2.2.5", "GLIBC_2.15", "GLIBC_2.17"] // which nm lists as well
        #expect(Set(exported).subtracting(versions) == Set(plain + versioned + own))
    }

    @Test func itBindsAtOnceAndKeepsItsThreadDataStatic() throws {
        let flags = try lines("readelf -dW '\(Built.interposer)'").filter {
            $0.contains("(FLAGS)") || $0.contains("(FLAGS_1)")
        }.flatMap { $0 }
        #if arch(arm64)
            let wanted = ["BIND_NOW", "INITFIRST"] // STATIC_TLS is not set by the linker for AArch64
        #else
            let wanted = ["BIND_NOW", "STATIC_TLS", "INITFIRST"]
        #endif
        for flag in wanted { #expect(flags.contains(flag), "\(flag) in \(flags)") }
        let relocations = try lines("readelf -rW '\(Built.interposer)'").flatMap { $0 }
        #expect(
            !relocations.isEmpty && !relocations.contains { $0.contains("DTPMOD64") || $0.contains("TLSDESC") },
            "dynamic TLS")
    }

    @Test func exceptionsUnwindByTheSameCode() throws {
        let plain = try Scratch().run([try Built.program("throw")])
        let recording = try Scratch().recordProgram("throw")
        #expect(plain.exitStatus == 0 && plain.output.contains("_Unwind_RaiseException /"))
        #expect(recording.outcome == plain)
    }

    @Test func exceptionsCostTheSame() throws {
        // Instructions inside _Unwind_RaiseException and what it calls, of 300 throws less those of 100: the first
        // ones' one-time work is gone.
        func instructions(_ throwCount: Int, recorded: Bool) throws -> Int {
            let scratch = try Scratch()
            let outcome = try scratch.run(
                [
                    "valgrind", "--tool=callgrind", "--callgrind-out-file=\(scratch.path)/out",
                    "--toggle-collect=_Unwind_RaiseException", try Built.program("throw"), "\(throwCount)",
                ],
                variables: recorded ? scratch.recordingVariables() : [:])
            guard outcome.exitStatus == 0,
                let line = outcome.messages.split(separator: "\n").last(where: { $0.contains("Collected") }),
                let count = line.split(separator: " ").last.flatMap({ Int($0) })
            else { throw Failure("callgrind: \(outcome.messages)") }
            return count
        }
        let plain = try instructions(300, recorded: false) - instructions(100, recorded: false)
        let recorded = try instructions(300, recorded: true) - instructions(100, recorded: true)
        #expect(plain > 0)
        // The loader's list is two modules longer, and nothing else differs.
        #expect(abs(recorded - plain) <= plain / 20, "\(plain) instructions plainly, \(recorded) recorded")
    }
}
