// Python's functions in an image (heaprun --python). All texts are bytes that the program chose.

import CHeapImage

/// A Python function at a line, as an image names it.
package struct PythonFrame: Hashable {
    /// The qualified name.
    package var name: [UInt8]
    /// As Python names it: a path, or a text such as "<string>".
    package var file: [UInt8]
    package var firstLine: UInt32
    /// The line that it executes; nil: not known.
    package var line: UInt32?

    /// The same function at another line: `distance` is as `heap_python_line` gives it.
    package func at(_ distance: UInt32) -> PythonFrame {
        var frame = self
        let (line, overflow) = firstLine.addingReportingOverflow(distance &- 1)
        frame.line = distance > 0 && !overflow ? line : nil
        return frame
    }
}

extension HeapImage {
    /// The function and line of a frame (`HEAP_MODULE_PYTHON`); nil if the process had more functions than are kept,
    /// or, with a note, if it can't be read.
    package func pythonFrame(_ frame: UInt64) -> PythonFrame? {
        guard let record = pythonRecord(frame, { string($0, limit: $1) }) else { return nil }
        let name = string(record.name, limit: Int(HEAP_PYTHON_NAME_BYTES))
        if name.isEmpty { return nil }
        let file = string(record.file, limit: Int(HEAP_PYTHON_FILE_BYTES))
        return PythonFrame(name: name, file: file, firstLine: record.first_line).at(heap_python_line(frame))
    }

    /// The record of a frame's function. `read` reads a string of at most so many bytes.
    func pythonRecord(_ frame: UInt64, _ read: (heap_string, Int) -> [UInt8]) -> heap_python_function? {
        let size = MemoryLayout<heap_python_function>.size
        let place = heap_string(offset: heap_python_record(frame), length: UInt32(size))
        let bytes = read(place, size)
        guard bytes.count == size else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: heap_python_function.self) }
    }
}
