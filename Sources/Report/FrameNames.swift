// Names for frames. Each frame is named once, and only on request; each module's files are opened once. Names that an
// image stores come before its modules' files, which may be different on this machine. A module without symbols is
// remembered with the reason, for a note at the end. If the caller says which frames will be shown, source lines are
// looked up for many frames at once.

import HeapImage
import Reduce
import Symbols
import Text

/// A source of names for the frames of one file. Addresses are the ELF file's own, already reduced by one byte.
package protocol ModuleNaming {
    func name(at address: UInt64) -> SymbolName?
    /// The calls at each address, innermost first; none if no source is known.
    func calls(at addresses: [UInt64]) -> [[SourceCall]]
    /// Existing files that could not be used.
    var notes: [String] { get }
}

extension ModuleNaming {
    package func calls(at addresses: [UInt64]) -> [[SourceCall]] { Array(repeating: [], count: addresses.count) }
    package var notes: [String] { [] }
}

extension ModuleSymbols: ModuleNaming {
    package var notes: [String] { problems.map { "\($0)" } }
}

extension NamedModule: ModuleNaming {
    package var notes: [String] { symbols?.notes ?? [] }
}

extension ReducedModule {
    /// If it has no build-id: what a file must match to name it.
    var expectedFile: ExpectedFile? {
        buildID.isEmpty && identity.hasNoBuildID
            ? ExpectedFile(
                byteCount: identity.byteCount, modifiedNanoseconds: identity.modifiedNanoseconds,
                isReplaced: identity.isReplaced) : nil
    }
}

/// A module whose frames can't be named.
package struct NamelessModule {
    package var module: String
    package var reason: String
    /// The file that is needed, if the one here is another build.
    package var wanted: String?
    /// Number of frames shown by offset because of that.
    package var frames = 0
}

/// Names the frames of one reduction.
package final class FrameNames {
    let reduction: Reduction
    private let open: (ReducedModule) throws -> any ModuleNaming
    /// Gets what several modules need at once, before they are opened.
    private let gather: ([ReducedModule]) -> Void
    private let symbolizer: Symbolizer
    private var symbols: [UInt32: any ModuleNaming] = [:]
    private var failed: [UInt32: Int] = [:]
    private var named: [Frame: NamedFrame] = [:]
    private var expansions: [Frame: [NamedFrame]] = [:]
    private var jit: FoundJITCode?
    /// Source positions of JIT compilers' code.
    private var places: [Frame: (file: String, line: Int?)] = [:]
    /// Frames without a name, because their memory held several functions of a JIT compiler.
    private var reused: Set<Frame> = []
    private var ownNotes: [String] = []
    /// The names of frames outside of all modules, by address, if they are one image's alone.
    private var ownAddresses: (names: StoredNames?, entries: [UInt64: Range<Int>])?
    /// Frames outside of all modules that were named.
    private var addressesNamed: [Frame] = []
    /// Whether an input is a kernel's, so that names of the kernel's allocators have their meaning.
    private(set) lazy var hasKernelLog = reduction.inputs.contains { $0.isOfKernel }
    /// Modules whose frames can't be named, with the reasons, in the order of their first frames.
    package private(set) var withoutSymbols: [NamelessModule] = []

    /// Number of frames shown by offset because of that.
    package var unnamedFrames: Int { withoutSymbols.reduce(0) { $0 + $1.frames } }

    /// Notes on files that could not be used for names or lines.
    package var notes: [String] {
        var notes = ownNotes + (jit?.notes ?? []) + symbolizer.notes
        if !reused.isEmpty {
            notes.append(
                "\(counted(UInt64(reused.count), "frame")) of compiled code without a name: a JIT compiler put several "
                    + "functions there, one after the other")
        }
        return notes
    }

    /// Names from the modules' own files and the symbolizer's other sources.
    package convenience init(_ reduction: Reduction, symbolizer: Symbolizer = Symbolizer()) {
        // At the first name, when the inputs are there.
        func look() { symbolizer.look(inRoots: reduction.rootsOfRunningProcesses) }
        func place(_ module: ReducedModule) -> (path: String, buildID: [UInt8]?, file: ExpectedFile?) {
            (pathText(module.path), module.buildID.isEmpty ? nil : module.buildID, module.expectedFile)
        }
        self.init(
            reduction, symbolizer: symbolizer,
            gather: {
                look()
                symbolizer.fetch($0.map(place))
            }
        ) { module in
            look()
            let (path, buildID, file) = place(module)
            return try symbolizer.module(path: path, buildID: buildID, file: file)
        }
    }

    /// Names from what `open` returns for a module.
    package init(
        _ reduction: Reduction, symbolizer: Symbolizer = Symbolizer(hasLines: false),
        gather: @escaping ([ReducedModule]) -> Void = { _ in },
        open: @escaping (ReducedModule) throws -> any ModuleNaming
    ) {
        self.reduction = reduction
        self.symbolizer = symbolizer
        self.gather = gather
        self.open = open
    }

    /// The frame with the name of the function that contains the return address, without inlined functions.
    ///
    /// - Complexity: O(1) for a frame that was named before; else one look-up in its module's symbols.
    package func name(_ frame: Frame) -> NamedFrame {
        if let known = named[frame] { return known }
        var result = NamedFrame(frame: frame)
        let module = reduction.modules[Int(frame.module)]
        if let own = reduction.logFrame(frame) {
            // The log's own name is kept: it was made where the binaries were.
            result.takeNames(of: own)
        } else if module.isFile {
            result.modulePath = pathText(module.path)
            result.moduleName = module.baseName
            result.buildID = module.buildID.isEmpty ? nil : hexadecimal(module.buildID)
            // Less one byte, because a return address may be the first byte of the next function.
            if let stored = stored(frame) {
                result.takeSymbol(of: stored)
            } else if frame.offset > 0, let found = symbols(frame.module, module)?.name(at: frame.offset - 1) {
                result.symbol = found.name
                result.function = symbolizer.demangle(found.name)
                result.symbolOffset = found.offset &+ 1
            } else if let index = failed[frame.module], index >= 0 {
                withoutSymbols[index].frames += 1
            }
        } else if frame.module == SpecialModule.none, frame.offset > 0 {
            nameAbsolute(&result)
        }
        if let tag = reduction.tag(of: frame) { result.function = LogFrame.tagText + tag.description }
        if frame.isCode {
            result.address = reduction.address(of: frame)
        }
        named[frame] = result
        return result
    }

    /// The frame by its source: the functions inlined there, innermost first, and then the function itself. One entry
    /// if no source is known.
    ///
    /// - Complexity: O(1) for a frame that was requested or prepared before; else a question to the helper process.
    package func expanded(_ frame: Frame) -> [NamedFrame] {
        if let known = expansions[frame] { return known }
        let module = reduction.modules[Int(frame.module)]
        if expandStored(frame), let made = expansions[frame] { return made }
        if module.isFile, frame.offset > 0, let symbols = symbols(frame.module, module) {
            expand([frame], by: symbols)
            if let made = expansions[frame] { return made }
        }
        var made = name(frame)
        if frame.module == SpecialModule.none, let place = places[frame], symbolizer.hasLines {
            (made.file, made.line, made.inlined) = (place.file, place.line, false)
        }
        expansions[frame] = [made]
        return [made]
    }

    /// The expanded frames of a stack, cut to a number of entries; and how many frames these entries are from.
    package func expanded(_ frames: [Frame], limit: Int?) -> (entries: [NamedFrame], used: Int) {
        var (entries, used): ([NamedFrame], Int) = ([], 0)
        for frame in frames {
            if let limit, entries.count >= limit { break }
            entries += expanded(frame)
            used += 1
        }
        return (limit.map { Array(entries.prefix($0)) } ?? entries, used)
    }

    /// Looks up the sources of all frames of these rows, all of a module's at once.
    package func prepare(_ rows: [Row]) {
        var frames: [Frame] = []
        var seen: Set<Frame> = []
        for row in rows {
            reduction.tree.forEachFrame(of: row.node) { if seen.insert($0).inserted { frames.append($0) } }
        }
        prepare(frames: frames)
    }

    /// The same for a list of frames.
    func prepare(frames: [Frame]) {
        var wanted: [UInt32: [Frame]] = [:]
        for frame in frames where frame.offset > 0 && expansions[frame] == nil && !expandStored(frame) {
            wanted[frame.module, default: []].append(frame)
        }
        gather(
            wanted.keys.sorted().filter { symbols[$0] == nil && failed[$0] == nil }.map { reduction.modules[Int($0)] }
                .filter(\.isFile))
        for (number, frames) in wanted.sorted(by: { $0.key < $1.key }) {
            let module = reduction.modules[Int(number)]
            if module.isFile, let symbols = symbols(number, module) { expand(frames, by: symbols) }
        }
    }

    private func expand(_ frames: [Frame], by symbols: any ModuleNaming) {
        for (frame, calls) in zip(frames, symbols.calls(at: frames.map { $0.offset - 1 })) {
            let function = name(frame)
            guard !calls.isEmpty else {
                expansions[frame] = [function]
                continue
            }
            expansions[frame] = calls.indices.map { index in
                var entry = function
                entry.file = calls[index].file
                entry.line = calls[index].line
                entry.inlined = index < calls.count - 1
                if index < calls.count - 1 {
                    entry.symbol = calls[index].function
                    entry.function = calls[index].function.map(symbolizer.demangle)
                    entry.symbolOffset = nil
                } else if function.function == nil {
                    // A static function of a stripped file, which DWARF still knows.
                    entry.symbol = calls[index].function
                    entry.function = calls[index].function.map(symbolizer.demangle)
                }
                return entry
            }
        }
    }

    /// From here on, frames outside of all modules have the names that this image stores, and no others. For a
    /// reduction of many processes that are told one by one: in each of them, an address means something else.
    ///
    /// - Complexity: O(names of the image)
    func nameAddresses(by image: HeapImage) {
        for frame in addressesNamed { (named[frame], expansions[frame], places[frame]) = (nil, nil, nil) }
        addressesNamed = []
        let names = image.storedNames()
        let entries = (names?.frames ?? []).filter { $0.frame > 0 && $0.frame >> 48 == 0 }
        ownAddresses = (names, Dictionary(entries.map { ($0.frame, $0.entries) }) { first, _ in first })
    }

    /// Whether that image has names for some of them.
    var namesAddresses: Bool { ownAddresses?.entries.isEmpty == false }

    /// What a JIT compiler called a frame outside of all modules: a part of a stack's key. nil if it told nothing, or
    /// several names for this address.
    package func compiledName(of frame: Frame) -> String? {
        guard frame.module == SpecialModule.none, frame.offset > 0 else { return nil }
        if let stored = stored(frame)?.last { return stored.isReused ? nil : stored.symbol ?? stored.function }
        guard case .named(let name) = foundCode(of: frame) else { return nil }
        return name.function
    }

    /// The keys of all stacks, by node.
    package func stackKeys() -> [StackKey] { reduction.stackKeys(compiled: compiledName) }

    /// What the files of the process's JIT compilers say of a frame outside of all modules.
    private func foundCode(of frame: Frame) -> JITAnswer? {
        if ownAddresses != nil { return nil }
        if jit == nil { jit = FoundJITCode(reduction, sysroot: symbolizer.search.sysroot) }
        return jit?.answer(of: frame)
    }

    /// An image's names for a frame; nil if there are none, or if the user has a listing for the module.
    private func stored(_ frame: Frame) -> [StoredName]? {
        if let ownAddresses, frame.module == SpecialModule.none {
            guard let names = ownAddresses.names, let entries = ownAddresses.entries[frame.offset] else { return nil }
            return names.names(entries)
        }
        guard let names = reduction.storedNames(of: frame), !names.isEmpty else { return nil }
        let module = reduction.modules[Int(frame.module)]
        return module.isFile && symbolizer.hasListing(of: pathText(module.path)) ? nil : names
    }

    private func expandStored(_ frame: Frame) -> Bool {
        guard reduction.modules[Int(frame.module)].isFile, let stored = stored(frame) else { return false }
        let function = name(frame)
        expansions[frame] = symbolizer.hasLines ? stored.map(function.taking) : [function]
        return true
    }

    /// The names of all frames of an image, to store in it.
    ///
    /// Includes frames that were looked up and have no name, so that nobody looks them up again. Excludes frames that
    /// could not be looked up.
    /// - Complexity: O(nodes) look-ups.
    package func namesToStore(ofInput input: Int) -> [StoredFrame] {
        let frames = reduction.frames(ofInput: input)
        prepare(frames: frames.map(\.frame))
        var result: [StoredFrame] = []
        for (raw, frame) in frames where frame.isCode && frame.module != SpecialModule.named {
            let entries = expanded(frame)
            let isNamed = entries.contains { $0.function != nil }
            if reused.contains(frame) {
                result.append(StoredFrame(frame: raw, names: [StoredName(isReused: true)]))
                continue
            }
            if !isNamed && (failed[frame.module] != nil || !reduction.modules[Int(frame.module)].isFile) { continue }
            result.append(StoredFrame(frame: raw, names: entries.map(\.stored)))
        }
        return result
    }

    /// Names a frame outside of all modules: by a listing, by what the image stores, or by the files of the process's
    /// JIT compilers.
    private func nameAbsolute(_ result: inout NamedFrame) {
        let frame = result.frame
        addressesNamed.append(frame)
        if let found = symbolizer.name(ofAbsolute: frame.offset - 1) {
            result.symbol = found.name
            result.function = symbolizer.demangle(found.name)
            result.symbolOffset = found.offset &+ 1
            return
        }
        if let stored = stored(frame)?.last {
            if stored.isReused { reused.insert(frame) }
            (result.function, result.symbol) = (stored.function, stored.symbol)
            result.symbolOffset = stored.symbolOffset
            if let file = stored.file { places[frame] = (file, stored.line) }
            return
        }
        switch foundCode(of: frame) {
        case .named(let name):
            (result.function, result.symbol) = (symbolizer.demangle(name.function), name.function)
            result.symbolOffset = name.offset.map { $0 &+ 1 }
            if let file = name.file { places[frame] = (file, name.line) }
        case .several: reused.insert(frame)
        case nil: break
        }
    }

    private func symbols(_ number: UInt32, _ module: ReducedModule) -> (any ModuleNaming)? {
        if let open = symbols[number] { return open }
        if failed[number] != nil { return nil }
        do {
            let opened = try open(module)
            ownNotes += opened.notes
            symbols[number] = opened
            return opened
        } catch {
            failed[number] = -1
            // The kernel's own pages have no file, and their names are not missed.
            if module.path.first == UInt8(ascii: "/") || !module.baseName.contains("vdso") {
                failed[number] = withoutSymbols.count
                withoutSymbols.append(
                    NamelessModule(
                        module: module.baseName, reason: "\(error)", wanted: (error as? SymbolsError)?.wantedFile))
            }
            return nil
        }
    }
}
