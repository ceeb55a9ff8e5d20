// What the tool `list` answers: the recorded processes of this machine, and the images in a directory.

import HeapImage
import Live
import Reduce
import Text

struct RecordedList {
    private static let mostListed = 50

    let text: String

    /// - Throws: why there is no image in the directory.
    init(_ directory: String?) throws {
        let (running, closed) = recordedProcesses()
        let processes = running.prefix(Self.mostListed).map { one in
            "{\"pid\":\(one.processID),\"program\":\(jsonString(String(one.program.prefix(100)))),"
                + "\"liveBytes\":\(one.liveBytes),\"liveBlocks\":\(one.liveBlocks),"
                + "\"residentBytes\":\(one.residentBytes.map { "\($0)" } ?? "null"),"
                + "\"recordedSeconds\":\(UInt64(max(0, min(one.recordedSeconds, 1e15))))}"
        }
        var images: [String] = [], count = 0
        if let directory {
            let opened = InputSelection.open(paths: [directory])
            if opened.images.isEmpty {
                throw Nothing(description: opened.failures.first.map { "\($0)" } ?? "\(directory): there is no image")
            }
            count = opened.images.count
            images = opened.images.prefix(Self.mostListed).map { image in
                "{\"path\":\(jsonString(image.file)),\"program\":\(jsonString(String(image.programName.prefix(100)))),"
                    + "\"pid\":\(image.header.pid),\"kind\":\"\(image.kind)\",\"state\":\"\(image.effectiveState)\","
                    + "\"hasVerdict\":\(image.hasVerdict),\"storedBytes\":\(image.source.storedBytes)}"
            }
        }
        text =
            "{\"processes\":[\(processes.joined(separator: ","))],\"processesLeftOut\":"
            + "\(running.count - processes.count),\"processesClosed\":\(closed),"
            + "\"images\":\(directory == nil ? "null" : "[\(images.joined(separator: ","))]"),"
            + "\"imagesLeftOut\":\(count - images.count)}"
    }

    struct Nothing: Error, CustomStringConvertible { var description: String }
}
