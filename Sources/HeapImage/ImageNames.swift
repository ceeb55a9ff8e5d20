// The names of image files: PROGRAM.PID.heap, or PROGRAM.PID-2.heap if that is taken; dumps are PROGRAM.PID.N.heap.
// Names are for people: the header says which process an image belongs to, and no tool parses a name.

package enum ImageNames {
    /// The name of a process's image; `attempt` is 1 for the first choice, and more if a file with that name exists.
    /// `program` may be a path: its last part counts.
    package static func image(program: String, processID: UInt32, attempt: Int = 1) -> String {
        let suffix = attempt > 1 ? "-\(attempt)" : ""
        return "\(baseName(program)).\(processID)\(suffix).heap"
    }

    /// The name of dump `number` (from 1) of the image with the name `image`.
    package static func dump(ofImage image: String, number: Int) -> String {
        let name = baseName(image)
        let stem = name.hasSuffix(".heap") ? String(name.dropLast(5)) : name
        return "\(stem).\(number).heap"
    }

    /// A path's last part; "program" if there is none.
    package static func baseName(_ path: String) -> String {
        let name = path.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? ""
        return name.isEmpty || name == "." || name == ".." ? "program" : name
    }
}
