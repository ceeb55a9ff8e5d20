// Python's functions: frames that have a name, a file and a line from the image. Equal ones of any number of images are
// one, so they are kept like the frames that logs name.
//
// Invariant: a frame is Python's if its file is its module. No log names both the same.

import CHeapImage
import HeapImage

extension LogFrame {
    /// A Python function. The file is also the module: `heapsum --by module` adds up by it.
    init(_ frame: PythonFrame) {
        self.init(
            name: frame.name, module: frame.file.isEmpty ? Self.noFile : frame.file,
            file: frame.file.isEmpty ? Self.noFile : frame.file, line: frame.line)
    }

    /// Stands for a function beyond those that an image keeps.
    static let morePython = LogFrame(
        name: Array("more Python functions than are kept".utf8), module: noFile, file: noFile)
    private static let noFile = Array("<no file>".utf8)

    /// Whether it is a Python function.
    package var isPython: Bool { !file.isEmpty && module == file }
}

extension Reduction {
    /// Whether a frame is a Python function.
    package func isPython(_ frame: Frame) -> Bool { logFrame(frame)?.isPython ?? false }

    /// The places in code of a stack that a block may belong to, innermost first. In a stack with Python functions it
    /// belongs to the innermost of them, because the C functions inside serve it.
    ///
    /// - Complexity: O(depth)
    package func code(of row: Row) -> [Frame] {
        let frames = frames(of: row).filter(\.isCode)
        guard let python = frames.firstIndex(where: isPython) else { return frames }
        return Array(frames[python...])
    }

    /// Reads the Python functions among an image's frames.
    ///
    /// - Complexity: O(frames); at most twice `HEAP_PYTHON_FUNCTIONS_MOST` records are read.
    func python(_ frames: ArraySlice<UInt64>, of image: HeapImage) -> [UInt64: Frame] {
        var result: [UInt64: Frame] = [:]
        var records: [UInt32: PythonFrame?] = [:]
        for raw in frames where heap_frame_module(raw) == HEAP_MODULE_PYTHON && result[raw] == nil {
            let record = heap_python_record(raw)
            if records[record] == nil, records.count < 2 * Int(HEAP_PYTHON_FUNCTIONS_MOST) {
                records[record] = .some(record == 0 ? nil : image.pythonFrame(raw))
            }
            let known = (records[record] ?? nil).map { $0.at(heap_python_line(raw)) }
            result[raw] = frame(known.map { LogFrame($0) } ?? .morePython)
        }
        return result
    }
}
