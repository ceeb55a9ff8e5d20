// One moment of a running program. Its image changes while it is read: what is read twice is of two moments, and a
// report of both contradicts itself. So it is read once, into a dense copy in a file without a name, and all questions
// go to the copy.

import Glibc
import SystemPackage

extension HeapImage {
    /// The image as it stood at one moment, under the same name: itself where the program no longer runs, or where it
    /// is dense.
    ///
    /// - Throws: `FileError` where there is no place for the copy (TMPDIR, or /tmp); `InputError` where the image can't
    ///   be read.
    /// - Complexity: O(image) time; 24 bytes a live block on the disk, O(stacks) memory.
    package func atOneMoment() throws -> HeapImage {
        guard kind == .running && presence == .running else { return self }
        let descriptor = try unnamedFile()
        let copy: FileSource
        do {
            try pack(toUnnamed: descriptor)
            copy = try FileSource(takingOver: descriptor, name: file)
        } catch {
            close(descriptor)
            throw error
        }
        return try HeapImage(copy, presence: .running)
    }
}
