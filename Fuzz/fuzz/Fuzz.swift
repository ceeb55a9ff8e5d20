// fuzz: reads hostile input as the tools do. Built with -DFUZZER and --sanitize=fuzzer it is libFuzzer
// on one surface (`make fuzz`), which brings its own main; built plainly it reads files, as they are or
// damaged at random, each within limits, and says what the worst of them took. The tests run it so, as a
// process of its own: a trap, a hang or a refused allocation ends it with a signal, and the last line
// that it wrote names the input.

import FuzzSurface
@preconcurrency import Glibc

#if FUZZER
    /// The surface to fuzz, from the environment: the arguments are libFuzzer's own.
    private let surface = getenv("HEAPSUM_FUZZ_SURFACE").flatMap { Surface(rawValue: String(cString: $0)) }

    @_cdecl("LLVMFuzzerTestOneInput")
    public func readOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
        guard let surface else {
            fputs("HEAPSUM_FUZZ_SURFACE must name one of \(Surface.allCases.map(\.rawValue))\n", stderr)
            exit(64)
        }
        do {
            try surface.read([UInt8](UnsafeBufferPointer(start: data, count: size)))
        } catch {
            // The one way to tell libFuzzer of a fault that is no trap.
            fputs("\(error)\n", stderr)
            abort()
        }
        return 0
    }
#else
    @main
    struct Fuzz {
        static func main() {
            setvbuf(stdout, nil, _IOLBF, 0)
            guard CommandLine.arguments.count > 2, let surface = Surface(rawValue: CommandLine.arguments[1]) else {
                fputs(
                    "usage: fuzz \(Surface.allCases.map(\.rawValue).joined(separator: "|")) [--seed N --rounds N] "
                        + "FILE...\n",
                    stderr)
                exit(64)
            }
            exit(Replay(surface, Array(CommandLine.arguments.dropFirst(2))).run())
        }
    }
#endif
