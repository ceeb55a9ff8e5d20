// The code that a process's JIT compilers made, from all files that they wrote: jitdump files, which say when code was
// there, before the map, which doesn't.

import CHeapImage
import Glibc
import HeapImage
import Proc
import Text

/// Names for the code of one process's JIT compilers.
package struct JITCode: Sendable {
    private var dumps: [JITIndex] = []
    private var map: JITIndex?
    /// What is wrong with the files, and files that are there and can't be used.
    package private(set) var notes: [SymbolsError] = []

    /// Reads a process's files. nil if there are none that can be used, and then `notes` has the reasons.
    ///
    /// - Parameter sysroot: the root of the tree that the process ran in; empty: its own, or this machine's.
    /// - Complexity: O(files)
    package static func read(
        of process: JITProcess, sysroot: String = ""
    ) -> (code: JITCode?, notes: [SymbolsError]) {
        var code = JITCode()
        code.readDumps(of: process, sysroot)
        for path in process.mapPaths(sysroot: sysroot) where code.map == nil {
            do throws(SymbolsError) {
                guard let file = try process.open(path) else { continue }
                let (index, notes) = try JITMap.read(file)
                code.map = index
                code.notes += notes
            } catch { code.notes.append(error) }
        }
        return (code.dumps.isEmpty && code.map == nil ? nil : code, code.notes)
    }

    private mutating func readDumps(of process: JITProcess, _ sysroot: String) {
        var seen: Set<[UInt64]> = []
        func isNew(_ file: CInt) -> Bool {
            var status = stat()
            return fstat(file, &status) == 0 && seen.insert([UInt64(status.st_dev), UInt64(status.st_ino)]).inserted
        }
        var held = process.held.map { (dup($0.descriptor), $0.name) }
        if let pid = process.runningAs, let mapped = try? mappings(of: pid) {
            for mapping in jitDumpMappings(mapped).prefix(Self.mostDumps) {
                if let file = openJITDump(mapping, of: pid) { held.append((file, mapping.path)) }
            }
        }
        for (file, name) in held where file >= 0 {
            guard isNew(file) else {
                close(file)
                continue
            }
            do throws(SymbolsError) { try add(process.check(file, name: name), of: process) } catch {
                notes.append(error)
            }
        }
        guard dumps.isEmpty else { return }
        for path in process.dumpPaths(sysroot: sysroot) {
            do throws(SymbolsError) {
                if let file = try process.open(path) { try add(file, of: process) }
            } catch { notes.append(error) }
            if !dumps.isEmpty { return }
        }
    }

    /// Runtimes of one process that write jitdump files are few.
    private static let mostDumps = 16

    private mutating func add(_ file: FileReader, of process: JITProcess) throws(SymbolsError) {
        let dump = try JITDump.read(file, of: process.processID, lifetime: process.lifetime)
        notes += dump.notes
        dumps.append(dump.index)
    }

    /// A file of either kind alone, by its first bytes, for tests and fuzzing.
    package init(path: String) throws(SymbolsError) {
        let file = try FileReader(path: path)
        let isDump = file.byteCount >= 4 && (try? file.read("magic", at: 0, count: 4))?.withSpan { byte($0, 3) } == 0x4A
        if isDump {
            let dump = try JITDump.read(file)
            dumps = [dump.index]
            notes = dump.notes
        } else {
            let (index, notes) = try JITMap.read(file)
            map = index
            self.notes = notes
        }
    }

    private init() {}

    /// What was at an address at any time in `moments`; nil if nothing is known of it.
    ///
    /// - Parameter moments: of CLOCK_MONOTONIC, in nanoseconds; nil: all times.
    /// - Complexity: as `JITIndex.answer`, for each file.
    package func answer(at address: UInt64, during moments: ClosedRange<UInt64>? = nil) -> JITAnswer? {
        var known: JITAnswer?
        for dump in dumps {
            guard let answer = dump.answer(at: address, during: moments) else { continue }
            if let known, known != answer { return .several }
            known = answer
        }
        return known ?? map?.answer(at: address, during: moments)
    }

    /// Before this moment nothing that a jitdump file knows was at an address; nil: not known.
    func earliest(at address: UInt64) -> UInt64? { dumps.compactMap { $0.earliest(at: address) }.min() }

    /// Whether answers depend on the time.
    var knowsTimes: Bool { dumps.contains { $0.knowsTimes } }
}
