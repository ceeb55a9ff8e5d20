// Modules without a build-id: a file names them where size and date say that it is the one that ran, and no other does.
// Oracles: nm for where functions lie, stat for the file; and programs that are built again with other names.

import CHeapImage
import Glibc
import HeapImage
import Symbols
import TestSupport
import Testing

@Suite struct ModuleFileTests {
    private let scratch: Scratch
    private let heapsum = "'\(Built.products)/heapsum'"

    init() throws {
        scratch = try Scratch()
        try build("before")
    }

    /// A program without a build-id whose one function has this name.
    private func build(_ name: String, options: String = "-Wl,--build-id=none") throws {
        try scratch.write(
            "prog.c",
            "__attribute__((noinline)) int \(name)(int n) { return n * 3; }\nint main(int count, char **words) { "
                + "(void)words; return \(name)(count); }\n"
        )
        try scratch.prepare("cd '\(scratch.path)' && cc -g -O1 -o prog.new prog.c \(options) && mv prog.new prog")
    }

    private var path: String { "\(scratch.path)/prog" }

    private func status(_ path: String) -> stat {
        var status = stat()
        _ = stat(path, &status)
        return status
    }

    /// An image of one block, allocated a byte into the function.
    private func image(
        _ name: String, buildID: [UInt8] = [], isKnown: Bool = true, isReplaced: Bool = false, file: String? = nil
    ) throws {
        let line = try scratch.shell("nm prog | grep ' before$'").output
        let address = try #require(UInt64(line.prefix { $0 != " " }, radix: 16))
        let status = status(file ?? path)
        var builder = ImageBuilder(pid: 7)
        let module = builder.addModule(
            path, buildID: buildID, fileBytes: isKnown ? UInt64(status.st_size) : 0,
            modifiedNanoseconds: isKnown
                ? UInt64(status.st_mtim.tv_sec) * 1_000_000_000 + UInt64(status.st_mtim.tv_nsec) : 0,
            isReplaced: isReplaced)
        builder.addBlock(address: 0x1000, bytes: 100, stack: builder.addStack([heap_frame_make(module, address + 2)]))
        try builder.write(to: "\(scratch.path)/\(name)")
    }

    private func report(_ words: String) throws -> (output: String, messages: String) {
        let outcome = try scratch.shell("\(heapsum) --format folded --no-lines \(words)")
        try #require(outcome.exitStatus == 0, "\(outcome)")
        return (outcome.output, outcome.messages)
    }

    @Test func theFileThatRanNamesItsFunctions() throws {
        try image("a.heap")
        #expect(try report("a.heap") == ("before 100\n", ""))
        // A packed copy and one with names say the same.
        try scratch.prepare(
            "\(heapsum) pack -o packed a.heap && mv packed/*.heap b.heap && \(heapsum) pack --with-symbols -o packed "
                + "a.heap && mv packed/*.heap c.heap"
        )
        #expect(
            try report("b.heap") == ("before 100\n", "")
                && HeapImage(path: "\(scratch.path)/b.heap").modules()[1].file
                    == HeapImage(path: "\(scratch.path)/a.heap").modules()[1].file
        )
        let info = try scratch.shell("\(heapsum) info a.heap | grep no.build-id")
        #expect(
            info.output.contains("/prog, \(grouped(status(path).st_size)) bytes of 20")
                && !info.output.contains("no symbols"), "\(info)")
        try build("later")
        #expect(try report("c.heap") == ("before 100\n", ""))
    }

    private func grouped(_ number: Int) -> String {
        number < 1000 ? "\(number)" : "\(number / 1000)," + String(String(1000 + number % 1000).dropFirst())
    }

    @Test func anotherBuildInItsPlaceNamesNothing() throws {
        try image("a.heap")
        try scratch.prepare("cp -p prog kept")
        // Of the same length: the date alone tells.
        try build("sooner")
        try #require(status(path).st_size == status("\(scratch.path)/kept").st_size)
        let (output, messages) = try report("a.heap")
        #expect(!output.contains("sooner") && output.hasPrefix("prog+0x"), "\(output)")
        #expect(
            messages.contains(
                "No names for 1 frame of prog: \(path): without a build-id, and another file than the one that ran: ")
                && messages.contains("wanted: the file as it was, under a --sysroot"), "\(messages)")
        #expect(messages.split(separator: "\n").count == 1, "\(messages)")
        let info = try scratch.shell("\(heapsum) info a.heap")
        #expect(info.output.contains("no symbols: \(path): without a build-id, and another file"), "\(info)")
        // The same date, and another length.
        try build("sooner_or_later_with_a_longer_name")
        try scratch.prepare("touch -r kept prog")
        #expect(try !report("a.heap").output.contains("sooner"))
        // The file as it was, elsewhere; by an archive that keeps whole seconds; and without its date.
        try scratch.prepare("mkdir -p root/\(scratch.path) && cp -p kept root/\(scratch.path)/prog")
        #expect(try report("--sysroot root a.heap").output == "before 100\n")
        try scratch.prepare(
            "tar --format=gnu -C root -cf root.tar . && rm -r root && mkdir root && tar -C root -xf root.tar")
        #expect(try report("--sysroot root a.heap").output == "before 100\n")
        try scratch.prepare("touch root/\(scratch.path)/prog")
        #expect(try report("--sysroot root a.heap").output.hasPrefix("prog+0x"))
        // A listing that the user names is the user's word.
        try scratch.prepare(
            "'\(Built.products)/gensyms' kept > listed && \(heapsum) --format folded --symbols \(path)=listed a.heap > "
                + "out && grep before out"
        )
    }

    @Test func whatWasReplacedAlreadyIsNotNamed() throws {
        try image("a.heap", isReplaced: true)
        let (output, messages) = try report("a.heap")
        #expect(
            output.hasPrefix("prog+0x") && messages.contains("deleted or replaced while the program ran"), "\(messages)"
        )
        #expect(
            try scratch.shell("\(heapsum) info a.heap").output.contains("deleted or replaced while the program ran"))
    }

    @Test func anOlderImageIsNamedAndThatIsSaid() throws {
        try image("a.heap", isKnown: false)
        let (output, messages) = try report("a.heap")
        #expect(
            output == "before 100\n"
                && messages.contains(
                    "\(path): without a build-id, size or date of the module that ran, nothing tells whether this file "
                        + "is the one"
                ), "\(messages)")
        #expect(messages.split(separator: "\n").count == 1)
        #expect(try scratch.shell("\(heapsum) info a.heap").output.contains("of a size and date that are not known"))
        // What has a build-id now had none when it ran: it is no guess that this is another.
        try build("later", options: "-Wl,--build-id")
        #expect(try report("a.heap").output.hasPrefix("prog+0x"))
    }

    @Test func aBuildIDThatIsGoneIsAnotherBuild() throws {
        try image("a.heap", buildID: [1, 2, 3, 4])
        let (output, messages) = try report("a.heap")
        #expect(
            output.hasPrefix("prog+0x") && messages.contains("has no build-id, not the recorded 01020304"),
            "\(messages)")
    }

    @Test func buildsAtOnePathAreModulesOfTheirOwn() throws {
        try image("a.heap")
        try scratch.prepare("cp -p prog kept")
        try image("same.heap")
        try build("sooner")
        let status = status(path)
        var builder = ImageBuilder(pid: 8)
        let module = builder.addModule(
            path, fileBytes: UInt64(status.st_size),
            modifiedNanoseconds: UInt64(status.st_mtim.tv_sec) * 1_000_000_000 + UInt64(status.st_mtim.tv_nsec))
        let line = try scratch.shell("nm prog | grep ' sooner$'").output
        let address = try #require(UInt64(line.prefix { $0 != " " }, radix: 16))
        builder.addBlock(address: 0x1000, bytes: 50, stack: builder.addStack([heap_frame_make(module, address + 2)]))
        try builder.write(to: "\(scratch.path)/b.heap")
        let both = try report("a.heap b.heap")
        #expect(
            both.output.contains("sooner 50\n") && !both.output.contains("sooner 150")
                && both.output.contains("prog+0x"), "\(both)")
        // In a diff nothing grew by being built again: one stack went, another came.
        let diff = try scratch.shell("\(heapsum) diff --format folded --no-lines a.heap b.heap")
        #expect(diff.output.contains("sooner 0 50\n") && diff.output.contains(" 100 0\n"), "\(diff)")
    }

    @Test func earlyAllocationsAreNoLackOfSpace() throws {
        var builder = ImageBuilder(pid: 7)
        builder.header.losses.early_allocations = 3
        builder.header.losses.lost_allocations = 2
        builder.addBlock(address: 0x1000, bytes: 100, stack: builder.addStack([0x10]))
        try builder.write(to: "\(scratch.path)/a.heap")
        try scratch.prepare("\(heapsum) pack -o packed a.heap && mv packed/*.heap b.heap")
        for file in ["a.heap", "b.heap"] {
            #expect(try scratch.shell("\(heapsum) --format json \(file)").output.contains(#""lostEvents":5"#))
            #expect(
                try scratch.shell("\(heapsum) \(file)").output.contains(
                    "3 allocations came before recording could start."))
            let info = try scratch.shell("\(heapsum) info \(file)").output
            #expect(
                info.contains("3  allocations before recording could start, which are not in the image\n")
                    && info.contains("2  allocations that are not in the image: no space"), "\(info)")
        }
    }
}
