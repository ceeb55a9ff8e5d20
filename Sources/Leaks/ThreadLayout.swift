// What differs between processors in a stopped thread: how glibc lays out its memory, and which register is which.
//
// On x86-64 the thread pointer is the address of the thread's descriptor (struct pthread), and its thread-local storage
// lies below that. On AArch64 the descriptor lies below the thread pointer, and the storage above it.

import Glibc

enum ThreadLayout {
    #if arch(arm64)
        static let machine: UInt64 = 183 // EM_AARCH64
        /// The registers of a core file, in the kernel's order, and the numbers of some of them.
        static let registerCount = 34, stackPointer = 31, instructionPointer = 32
        static let stackPointerName = "sp"
        /// Bytes below the stack pointer that a function may use.
        static let redZoneBytes: UInt64 = 0
        static let isStorageAbove = true
        /// Where the word that leads to the vector of TLS blocks (dtv) lies, from the thread pointer on.
        static let vectorOffset: UInt64 = 0
        /// How far glibc rotates a mangled pointer.
        static let mangledBits: UInt64 = 0
        static let exit = 93, exitGroup = 94, execve = "221", execveat = "281"
        /// The instruction for a system call, and the places where one may lie.
        static let systemCall: [UInt8] = [0x01, 0, 0, 0xD4], instructionAlignment = 4
    #else
        static let machine: UInt64 = 62 // EM_X86_64
        static let registerCount = 27, stackPointer = 19, instructionPointer = 16
        static let stackPointerName = "rsp"
        static let redZoneBytes: UInt64 = 128
        static let isStorageAbove = false
        static let vectorOffset: UInt64 = 8
        static let mangledBits: UInt64 = 17
        static let exit = 60, exitGroup = 231, execve = "59", execveat = "322"
        static let systemCall: [UInt8] = [0x0F, 0x05], instructionAlignment = 1
    #endif

    /// Bytes of the kernel's pages.
    static let pageBytes = UInt64(max(sysconf(CInt(_SC_PAGESIZE)), 4096))

    /// The address of the first instruction for a system call in code that begins at `start`.
    static func systemCallInstruction(in code: [UInt8], at start: UInt64) -> UInt64? {
        stride(from: 0, through: code.count - systemCall.count, by: instructionAlignment).first {
            code[$0 ..< $0 + systemCall.count].elementsEqual(systemCall)
        }.map { start + UInt64($0) }
    }

    /// The value with which glibc mangles pointers. It is the same in all threads.
    static func pointerGuard(_ snapshot: Snapshot) -> UInt64? {
        #if arch(arm64)
            guard let loader = snapshot.modules({ $0.hasPrefix("ld-linux") || $0.hasPrefix("ld-2.") }).first,
                let place = loader.symbols(["__pointer_chk_guard"], memory: snapshot.memory)["__pointer_chk_guard"]
            else { return nil }
            return snapshot.memory.word(place)
        #else
            // Each thread's control block has it.
            return snapshot.threads.lazy.compactMap {
                $0.threadPointer == 0 ? nil : snapshot.memory.word($0.threadPointer &+ 0x30)
            }.first
        #endif
    }
}

extension GlibcState {
    /// The descriptor of the thread with a thread pointer, and the reverse.
    func descriptor(of threadPointer: UInt64) -> UInt64 {
        ThreadLayout.isStorageAbove ? threadPointer &- descriptorBytes : threadPointer
    }
    func threadPointer(of descriptor: UInt64) -> UInt64 {
        ThreadLayout.isStorageAbove ? descriptor &+ descriptorBytes : descriptor
    }

    /// The thread pointers of threads on stacks in use, and on stacks that are kept for new threads.
    var threadPointers: [UInt64] { (threads + cached).map { threadPointer(of: $0) } }
}
