// Pools that tell Valgrind of their blocks (heaprun --valgrind-requests): each kind of request, from the program and
// its libraries, is booked with its stack, and the program can't tell. Oracles: the program's own numbers, a plain
// run, memcheck, libunwind.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

#if arch(x86_64)
    @Suite struct RequestTests {
        private static let library = Built.interposer.replacing("libheapsum.so", with: "libheapsum-mappings.so")

        private static func variables(_ more: [String: String?] = [:]) -> [String: String?] {
            [
                "LD_PRELOAD": "\(Built.interposer):\(library)", "HEAPSUM_MAPPINGS": "1",
                "HEAPSUM_VALGRIND_REQUESTS": "1",
            ].merging(more) { $1 }
        }

        /// The program, linked with one library, and another that it opens: in the scratch directory. Its arguments.
        private func build(_ scratch: Scratch, _ options: String = "-O1 -fomit-frame-pointer") throws -> [String] {
            let source = "'\(Built.root)/Tests/Programs/requests.c'",
                compile = "cc -std=gnu17 -g -Wall -Wextra -I'\(Built.root)/Interposer/include' \(options)"
            try scratch.prepare(
                """
                cd '\(scratch.path)' &&
                \(compile) -shared -fPIC -DLIBRARY=linked_take \(source) -o liblinked.so &&
                \(compile) -shared -fPIC -DLIBRARY=opened_take \(source) -o opened.so &&
                \(compile) -DLINKED \(source) -o requests -L. -llinked -Wl,-rpath,'\(scratch.path)' -lpthread -ldl
                """)
            return [scratch.file("requests"), scratch.file("opened.so"), "opened_take"]
        }

        /// What the program says that its functions keep: bytes and blocks.
        private func told(_ output: String) -> [String: [UInt64]] {
            var found: [String: [UInt64]] = [:]
            for line in output.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count == 3, let bytes = UInt64(words[1]), let blocks = UInt64(words[2]) else { continue }
                found[String(words[0]), default: [0, 0]][0] += bytes
                found[String(words[0]), default: [0, 0]][1] += blocks
            }
            return found
        }

        /// What an image's pools keep, by the innermost function.
        private func booked(_ image: HeapImage) throws -> [String: [UInt64]] {
            let reduced = try Reduced(image)
            var found: [String: [UInt64]] = [:]
            for row in reduced.reduction.mappedRows where row.kind == .pool {
                let names = reduced.functions(Row(node: row.node))
                var name = names.first ?? "?"
                // An asm function without a name of its own in the account.
                if name == "ask_with_registers" { name = names.dropFirst().first ?? "?" }
                found[name, default: [0, 0]][0] += row.bytes
                found[name, default: [0, 0]][1] += row.mappings
            }
            return found
        }

        private func dump(_ recording: Recording) throws -> HeapImage {
            try #require(recording.images(of: "requests").map(\.image).first { $0.kind == .dump })
        }

        @Test(
            arguments: [
                (options: "-O1 -fomit-frame-pointer", variables: ["STEPS": "1"]),
                (options: "-O2 -fno-omit-frame-pointer -no-pie", variables: ["STEPS": "1"]),
                (options: "-O1 -fomit-frame-pointer", variables: ["HEAPSUM_VERIFY": "1"]),
                (options: "-O0", variables: ["HEAPSUM_UNWIND": "libunwind"]),
            ] as [(options: String, variables: [String: String])])
        func everyRequestIsBooked(options: String, variables: [String: String]) throws {
            let scratch = try Scratch(), command = try build(scratch, options)
            var variables = variables
            // The recorder's checks of itself don't expect a signal at each of their own instructions.
            if checksInvariants { variables["STEPS"] = nil }
            let plain = try scratch.run(command, variables: variables.mapValues { $0 })
            #expect(plain.exitStatus == 7 && plain.messages == "code unchanged\n", "\(plain)")
            let all = scratch.recordingVariables(Self.variables()).merging(variables.mapValues { $0 }) { $1 }
            let outcome = try scratch.run(command, variables: all)
            #expect(outcome.exitStatus == 7 && outcome.messages == "code changed\n", "\(outcome)")
            #expect(outcome.output.contains("registers 0\n") && outcome.output.contains("exists 0\n"))
            #expect(outcome.output == plain.output, "\(outcome)")
            let recording = Recording(scratch: scratch, outcome: outcome), image = try dump(recording)
            #expect(try booked(image) == told(outcome.output))
            // A handler that interrupts a request anywhere has the whole stack.
            let reduced = try Reduced(image)
            let stepped = reduced.reduction.rows.filter { reduced.functions($0).first == "keep_in_step" }
            #expect(stepped.reduce(0) { $0 + $1.blocks } > 300 || variables["STEPS"] == nil)
            for row in stepped {
                let names = reduced.functions(row)
                #expect(names.contains("step_through") && names.contains("main"), "\(names)")
            }
            let sums = try #require(image.requestSums()), pools = try #require(image.poolSums())
            #expect(sums.places > 20 && sums.refusedPlaces == 0 && sums.unsurePlaces == 0 && sums.lostPools == 0)
            #expect(pools.lostBlocks == 0 && pools.unmatchedFrees == 0, "\(pools)")
            #expect(sums.requests >= pools.allocatedBlocks)
            #expect(image.header.verified_stacks > 0 || variables["HEAPSUM_VERIFY"] == nil)
            #expect(image.header.differing_stacks == 0 && image.header.shorter_stacks == 0)
            #expect(image.damages.isEmpty)
            // The image of the program's end says the same, packed or not.
            let running = try #require(recording.images(of: "requests").map(\.image).first { $0.kind == .running })
            try running.pack(to: scratch.file("packed.heap"))
            let packed = try HeapImage(path: scratch.file("packed.heap"))
            #expect(packed.requestSums() == running.requestSums() && packed.poolSums() == running.poolSums())
            #expect(packed.mappingsAndPools() == running.mappingsAndPools() && packed.damages.isEmpty)
        }

        /// Without the option, and in a dormant program, nothing is booked; without it no byte of the code differs.
        @Test(arguments: [false, true]) func whoIsNotRecordedIsLeftAlone(isDormant: Bool) throws {
            let scratch = try Scratch(), command = try build(scratch)
            let plain = try scratch.run(command)
            var variables = Self.variables(isDormant ? ["HEAPSUM_DORMANT": "1"] : [:])
            if !isDormant { variables["HEAPSUM_VALGRIND_REQUESTS"] = nil }
            let outcome = try scratch.run(command, variables: scratch.recordingVariables(variables))
            #expect(outcome.exitStatus == plain.exitStatus && outcome.output == plain.output, "\(outcome)")
            #expect(outcome.messages == (isDormant ? "code changed\n" : "code unchanged\n"))
            let recording = Recording(scratch: scratch, outcome: outcome)
            for image in try recording.images(of: "requests").map(\.image) {
                #expect(image.requestSums() == nil && image.poolSums()?.allocatedBlocks == 14) // of heapsum.h
            }
            #expect(try recording.images(of: "requests").isEmpty == isDormant)
        }

        /// The option of heaprun, which implies --mappings; and not for a program that runs.
        @Test func heaprunAsksForIt() throws {
            let scratch = try Scratch(), command = try build(scratch)
            let plain = try scratch.run(command)
            let outcome = try scratch.record(
                command, options: ["--quiet", "--valgrind-requests", "-o", scratch.path], library: Built.interposer)
            #expect(outcome.exitStatus == plain.exitStatus && outcome.output == plain.output, "\(outcome)")
            #expect(try booked(dump(Recording(scratch: scratch, outcome: outcome))) == told(plain.output))
            let refused = try scratch.run([Built.heaprun, "--valgrind-requests", "--pid", "\(getpid())"])
            #expect(refused.exitStatus != 0 && refused.messages.contains("the code of one that runs is not changed"))
        }

        /// Where the kernel doesn't let code be written, it stays as it is, and the program runs as ever.
        @Test func codeThatCannotBeChangedIsCounted() throws {
            let scratch = try Scratch(), command = try build(scratch)
            let plain = try scratch.run(command)
            let outcome = try scratch.run(
                [command[0], "forbid"] + command.dropFirst(), variables: scratch.recordingVariables(Self.variables()))
            #expect(outcome == plain)
            let image = try dump(Recording(scratch: scratch, outcome: outcome))
            let sums = try #require(image.requestSums())
            #expect(sums.places == 0 && sums.refusedPlaces > 20 && sums.unsurePlaces == 0 && sums.requests == 0)
            let info = try scratch.run(
                [Built.products + "/heapsum", "info"]
                    + scratch.names.filter {
                        $0.hasSuffix(".1.heap")
                    }.map(scratch.file))
            #expect(info.output.contains("left alone: \(sums.refusedPlaces) that can't be changed\n"), "\(info)")
            let losses = info.output.split(separator: "\nLosses\n").last.map(String.init) ?? ""
            #expect(
                losses.contains("\(sums.refusedPlaces)  places with requests to Valgrind that are not seen"),
                "\(losses)")
        }

        /// The oracle: memcheck's loss records of the same program, by the innermost function.
        @Test func memcheckFindsTheSameBlocks() throws {
            let scratch = try Scratch(), command = try build(scratch)
            let judged = try scratch.run(
                [
                    "valgrind", "--leak-check=full", "--show-leak-kinds=all", "--errors-for-leak-kinds=none",
                ] + command)
            #expect(judged.exitStatus == 7, "\(judged)")
            var found: [String: [UInt64]] = [:], sums: [UInt64]?
            for line in judged.messages.split(separator: "\n") {
                let words = line.split(separator: " ").map { String($0).replacing(",", with: "") }
                // ==1== 5,000 bytes in 50 blocks are definitely lost …; then ==1==    at 0x…: name (…)
                if words.count > 6, words[2] == "bytes", words[3] == "in", let bytes = UInt64(words[1]) {
                    sums = [bytes, UInt64(words[4]) ?? 0]
                } else if words.count > 3, words[1] == "at", let add = sums {
                    found[words[3], default: [0, 0]][0] += add[0]
                    found[words[3], default: [0, 0]][1] += add[1]
                    sums = nil
                }
            }
            // memcheck keeps the first owner's stack of a block that is changed or resized.
            var expected = told(judged.output)
            for (now, first) in [("change", "take_to_change"), ("resize", "take_like_malloc")] {
                let moved = try #require(expected[now]), stayed = try #require(expected[first])
                expected[now] = nil
                expected[first] = [moved[0] + stayed[0], moved[1] + stayed[1]]
            }
            // It also lists the block out of which a pool of pools hands out others.
            expected["take_in_pools_of_pools"]?[0] += 1024
            expected["take_in_pools_of_pools"]?[1] += 1
            #expect(found.filter { expected[$0.key] != nil } == expected, "\(judged)")
        }
    }
#endif
