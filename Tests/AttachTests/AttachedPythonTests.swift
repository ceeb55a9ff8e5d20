// heaprun --pid PID --python: from the first block on, each thread has its Python functions.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite(.serialized) struct AttachedPythonTests {
    /// All threads wait for a byte. Then each allocates blocks of a size of its own: by Python's allocator, with the
    /// interpreter's lock, or by libc's, without it.
    private static let program = """
        import ctypes, os, sys, threading
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        count, kept = int(sys.argv[1]), []
        inputs, outputs, ends = os.pipe(), os.pipe(), os.pipe()

        def with_lock(bytes_):
            kept.append(bytearray(bytes_))

        def without_lock(bytes_):
            kept.append(libc.malloc(bytes_))

        allocate = globals()[sys.argv[2]]

        def work(number):
            allocate(200_000 + 1_000 * number)  # not recorded: what a first call makes is made
            os.write(outputs[1], b"a")
            os.read(inputs[0], 1)
            allocate(100_000 + 1_000 * number)
            os.write(outputs[1], b"b")
            os.read(ends[0], 1)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads: thread.start()
        for thread in threads: os.read(outputs[0], 1)
        os.write(1, b"ready\\n")
        os.read(0, 100)
        os.write(inputs[1], b"a" * count)
        for thread in threads: os.read(outputs[0], 1)
        os.write(1, b"done\\n")
        os.read(0, 100)
        os._exit(0)
        """

    @Test(arguments: [
        (1, "with_lock", "pymalloc"), (1, "without_lock", "pymalloc"), (6, "with_lock", "pymalloc"),
        (6, "without_lock", "pymalloc"), (6, "with_lock", "malloc"), (6, "without_lock", "malloc"),
    ]) func theFirstBlockHasItsPythonFunctions(threads: Int, allocate: String, allocator: String) throws {
        let scratch = try Scratch()
        try scratch.write("threads.py", Self.program)
        let program = try Attached(
            ["/usr/bin/python3", "threads.py", "\(threads)", allocate], variables: ["PYTHONMALLOC": allocator],
            scratch: scratch)
        #expect(try program.answer() == "ready")
        try program.attach(["--python"])
        #expect(try program.ask("go") == "done")
        let image = try program.detach()
        #expect(image.header.python >> 24 == 3 && image.header.unmixed_stacks == 0)
        let reduction = Reduction()
        try reduction.add(image)
        // All that was allocated, freed or not.
        for row in reduction.rows where (row.history?.allocatedBlocks ?? 0) > 0 {
            #expect(reduction.frames(of: row).contains(where: reduction.isPython), "\(row)")
        }
        for number in 0 ..< UInt64(threads) {
            let bytes = 100_000 + 1_000 * number
            var functions: [[String]] = []
            reduction.forEachLiveBlock(passing: BlockFilter()) { (block, row, _, _) in
                guard bytes ... bytes + 64 ~= block.bytes else { return }
                functions.append(
                    reduction.frames(of: reduction.rows[row]).filter(reduction.isPython).compactMap {
                        reduction.logFrame($0).map { String(decoding: $0.name, as: UTF8.self) }
                    })
            }
            #expect(functions.count == 1 && functions[0].prefix(2) == [allocate, "work"], "\(bytes): \(functions)")
        }
        program.tell("end")
        #expect(try program.wait().exitStatus == 0)
    }
}
