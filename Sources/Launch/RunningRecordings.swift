// The recorded programs of this machine, found through the images that they map. Until its program ends, an image does
// not lie in its output directory.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// A program whose image will come into a directory.
package struct RunningRecording {
    package var processID: pid_t
    package var program: String
}

/// Calls a function with each recorded process whose image can be read.
///
/// - Returns: the number of processes that could not be examined.
/// - Complexity: reads the maps of each process.
package func forEachRecording(_ body: (pid_t, ImagePlace, HeapImage) -> Void) -> Int {
    var closed = 0
    for pid in processes() where pid != getpid() && Presence.livingThread(of: UInt32(bitPattern: pid)) != nil {
        do {
            guard try mappings(of: pid).contains(where: { $0.path.contains("libheapsum.so") }) else { continue }
        } catch {
            if error == .permissionDenied || error == .notPermitted { closed += 1 }
            continue
        }
        guard let place = try? findImage(of: pid, deadline: 0),
            let image = try? HeapImage(place.source(of: pid), presence: .running)
        else { continue }
        body(pid, place, image)
    }
    return closed
}

/// The running programs whose images are to come into a directory, and are neither there yet nor linked there, by PID.
/// Programs that can't be examined are left out.
package func recordings(into directory: FilePath) -> [RunningRecording] {
    guard let wanted = try? directory.status() else { return [] }
    func isWanted(_ path: FilePath) -> Bool {
        guard let status = try? path.status() else { return false }
        return status.st_ino == wanted.st_ino && status.st_dev == wanted.st_dev
    }
    var found: [RunningRecording] = []
    _ = forEachRecording { pid, place, image in
        let output = FilePath(text: image.outputDirectory)
        guard isWanted(output), !image.hasFlag(HEAP_FLAG_DETACHED) else { return }
        if case .file(let path) = place {
            guard linkToImage(path, in: output) == nil, !isWanted(path.removingLastComponent()) else { return }
        }
        found.append(RunningRecording(processID: pid, program: image.programName))
    }
    return found.sorted { $0.processID < $1.processID }
}
