// What differs between processors in the code that attaching needs, and in the numbers of system calls.

enum Processor {
    #if arch(arm64)
        static let name = "AArch64"
        static let machine: UInt16 = 183 // EM_AARCH64
        /// `svc #0; ret`, and `mov x8, #139; svc #0`: rt_sigreturn.
        static let systemCall: [UInt8] = [0x01, 0, 0, 0xD4, 0xC0, 0x03, 0x5F, 0xD6]
        static let signalReturn: [UInt8] = [0x68, 0x11, 0x80, 0xD2, 0x01, 0, 0, 0xD4]
        static let close = 57, memfdCreate = 279
    #else
        static let name = "x86-64"
        static let machine: UInt16 = 62 // EM_X86_64
        /// `syscall; ret`, and `mov $15, %rax; syscall`: rt_sigreturn.
        static let systemCall: [UInt8] = [0x0F, 0x05, 0xC3]
        static let signalReturn: [UInt8] = [0x48, 0xC7, 0xC0, 0x0F, 0, 0, 0, 0x0F, 0x05]
        static let close = 3, memfdCreate = 319
    #endif
}
