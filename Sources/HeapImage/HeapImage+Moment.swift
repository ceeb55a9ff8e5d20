// One moment of a running program. Its image changes while it is read, so two readings give two moments, and a report
// made of both contradicts itself. So the image is read once, into a dense copy in a file without a name, and
// everything else is read from the copy.

import Glibc
import SystemPackage

extension HeapImage {
    /// The image as it was at one moment, under the same name. It is the image itself if the program no longer runs or
    /// the image is dense.
    ///
    /// - Throws: `FileError` if there is no place for the copy (TMPDIR, or /tmp); `InputError` if the image can't be
    ///   read.
    /// - Complexity: O(image) time; 24 bytes on the disk for each live block, O(stacks) memory.
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
