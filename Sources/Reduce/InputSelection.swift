// Which of the named files count. Several images of one process are moments of one heap, and their sum would mean
// nothing. So the newest counts, and the others are reported as left out.

import Glibc
import HeapImage
import Text

/// Which of several moments of one process counts.
package enum SetChoice: Equatable {
    /// The newest.
    case last
    /// All of them, summed.
    case all
    /// This one, from 1, the oldest first.
    case number(Int)
}

/// The named images, and whether each counts.
package struct InputSelection {
    /// The images that count, in the order of their names.
    package private(set) var chosen: [HeapImage] = []
    /// The images that don't count, and the image of the same process that does.
    package private(set) var leftOut: [(file: String, because: String)] = []

    /// The same as text, with each file's name. Files with the same reason, such as all dumps of a process, share a
    /// line.
    package var leftOutLines: [String] {
        var lines: [(files: [String], because: String)] = []
        for (file, because) in leftOut {
            if lines.last?.because == because {
                lines[lines.count - 1].files.append(file)
            } else {
                lines.append(([file], because))
            }
        }
        return lines.map { "left out: \($0.files.joined(separator: ", ")): \($0.because)" }
    }
    /// The files that can't be used at all.
    package private(set) var failures: [InputError] = []

    /// Opens the images at `paths`; in a directory, all files named `*.heap`.
    package init(paths: [String], choice: SetChoice = .last) {
        let opened = Self.open(paths: paths)
        failures = opened.failures
        choose(among: opened.images, choice)
    }

    /// The images at `paths` (in a directory, all files named `*.heap`), before a choice.
    package static func open(paths: [String]) -> (images: [HeapImage], failures: [InputError]) {
        var images: [HeapImage] = [], failures: [InputError] = []
        for path in paths {
            do throws(InputError) {
                for file in try files(at: path) {
                    do throws(InputError) { images.append(try HeapImage(path: file)) } catch { failures.append(error) }
                }
            } catch {
                failures.append(error)
            }
        }
        return (images, failures)
    }

    /// Chooses among open images.
    package init(images: [HeapImage], choice: SetChoice = .last) {
        choose(among: images, choice)
    }

    /// The file at `path`, or a directory's images, by name.
    package static func files(at path: String) throws(InputError) -> [String] {
        if path == "-" { return [path] }
        var status = stat()
        guard path.withPath({ stat($0, &status) }) == 0, status.st_mode & S_IFMT == S_IFDIR else { return [path] }
        guard let directory = path.withPath({ opendir($0) }) else {
            throw InputError(file: path, offset: nil, what: String(cString: strerror(errno)))
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { pathText($0.prefix { $0 != 0 }) }
            // A program may be named .foo, so names that start with a dot count, too.
            if name.hasSuffix(".heap") { names.append(name) }
        }
        guard !names.isEmpty else {
            throw InputError(file: path, offset: nil, what: "no file in this directory is called *.heap")
        }
        return names.sorted().map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }
    }

    private mutating func choose(among images: [HeapImage], _ choice: SetChoice) {
        var groups: [HeapImage.Identity: [Int]] = [:]
        for (index, image) in images.enumerated() { groups[image.identity, default: []].append(index) }
        var counts = Set(images.indices)
        for group in groups.values where choice != .all {
            let ordered = group.sorted { Self.age(images[$0], $0) < Self.age(images[$1], $1) }
            let keep: Int
            switch choice {
            case .number(let number):
                guard number >= 1 && number <= ordered.count else {
                    for (place, index) in ordered.enumerated() {
                        counts.remove(index)
                        let others = ordered.count == 1 ? "1 set" : "\(ordered.count) sets"
                        leftOut.append(
                            (
                                images[index].file,
                                "this is set \(place + 1) of its process, which has \(others) and no set \(number)"
                            ))
                    }
                    continue
                }
                keep = ordered[number - 1]
            case .last, .all:
                keep = ordered[ordered.count - 1]
            }
            for index in ordered where index != keep {
                counts.remove(index)
                let relation = choice == .last ? "is newer" : "is the set that was chosen"
                leftOut.append((images[index].file, "\(images[keep].file) of the same process \(relation)"))
            }
        }
        leftOut.sort { $0.file < $1.file }
        chosen = images.indices.filter(counts.contains).map { images[$0] }
    }

    /// Images of one process, oldest first.
    package static func byTime(_ images: [HeapImage]) -> [HeapImage] {
        images.enumerated().sorted { age($0.element, $0.offset) < age($1.element, $1.offset) }.map(\.element)
    }

    /// The order of one process's images: a finished image, or the running one, is newer than any dump.
    private static func age(_ image: HeapImage, _ index: Int) -> (Int, UInt64, UInt32, Int) {
        (image.kind == .dump ? 0 : 1, image.writingNanoseconds?.ended ?? .max, image.header.dumps, -index)
    }
}
