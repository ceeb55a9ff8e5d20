// How much of the vector registers a signal frame gets, on areas as processors have them. An area that is larger than
// the thread's own would make the kernel forget all but SSE's registers, and this needs AMX to be seen.

import CLeaks
import TestSupport
import Testing

@Suite struct AreaTests {
    /// The parts of a processor with AMX, as its CPUID has them: AVX, AVX-512's three, PKRU, and AMX's two.
    private let parts: [Int: area_part] = [
        2: area_part(at: 576, bytes: 256), 5: area_part(at: 1088, bytes: 64), 6: area_part(at: 1152, bytes: 512),
        7: area_part(at: 1664, bytes: 1024), 9: area_part(at: 2688, bytes: 8), 17: area_part(at: 2752, bytes: 64),
        18: area_part(at: 2816, bytes: 8192),
    ]

    private func inUse(_ bits: [Int], format: UInt64 = 0, count: Int = 11008) -> Int {
        var area = [UInt8](repeating: 0xFF, count: count)
        let head = [bits.reduce(UInt64(0)) { $0 | 1 << UInt64($1) }, format]
        head.withUnsafeBytes {
            for (index, byte) in $0.enumerated() where 512 + index < count { area[512 + index] = byte }
        }
        let all = (0 ..< Int(AREA_PARTS)).map { parts[$0] ?? area_part(at: 0, bytes: 0) }
        return area_in_use(area, count, all)
    }

    @Test func itEndsBehindTheLastPartInUse() {
        #expect(inUse([]) == 576 && inUse([0, 1]) == 576)
        #expect(inUse([0, 1, 2]) == 832)
        #expect(inUse([0, 1, 2, 5, 6, 7]) == 2688)
        #expect(inUse([0, 1, 9]) == 2696)
        // Not permitted, and so not in use: what ptrace gives is larger all the same.
        #expect(inUse([0, 1, 2, 9]) == 2696)
        #expect(inUse([0, 1, 2, 9, 17, 18]) == 11008)
    }

    // Then no frame is made.
    @Test func whatIsNotKnown() {
        #expect(inUse([0, 1, 3]) == 0)
        #expect(inUse([0, 1, 63]) == 0)
        #expect(inUse([0, 1, 2], format: 1 << 63) == 0)
        #expect(inUse([0, 1, 18], count: 2696) == 0)
        #expect(inUse([], count: 575) == 0)
    }

    #if arch(x86_64)
        // The kernel's own word on it: a handler makes its frame's area smaller, and larger than the thread's.
        @Test(.enabled(if: (try? contents("/proc/cpuinfo"))?.contains(" avx ") == true)) func theKernelsRule() throws {
            let scratch = try Scratch()
            try scratch.write(
                "frames.c",
                """
                #define _GNU_SOURCE
                #include <signal.h>
                #include <stdint.h>
                #include <stdio.h>
                #include <string.h>
                #include <sys/syscall.h>
                #include <ucontext.h>
                #include <unistd.h>
                static unsigned wanted, own;
                static void change(int number, siginfo_t *information, void *context) {
                    uint8_t *area = (uint8_t *)((ucontext_t *)context)->uc_mcontext.fpregs;
                    uint32_t *words = (uint32_t *)(area + 464), magic = 0x46505845;
                    (void)number, (void)information;
                    if (wanted == 0) own = wanted = words[4];
                    if (wanted < own) *(uint64_t *)(area + 512) &= 7; /* x87, SSE, AVX */
                    words[1] = wanted + 4, words[4] = wanted;
                    memcpy(area + wanted, &magic, sizeof magic);
                }
                __attribute__((target("avx"))) static const char *kept(unsigned bytes) {
                    uint8_t before[32], after[32];
                    long answer = SYS_kill;
                        wanted = bytes;
                    for (int i = 0; i < 32; i++) before[i] = (uint8_t)(i * 7 + 1);
                    __asm__ volatile("vmovdqu (%3), %%ymm5\\n syscall\\n vmovdqu %%ymm5, (%4)\\n vzeroupper"
                        : "+a"(answer) : "D"((long)getpid()), "S"((long)SIGUSR1), "r"(before), "r"(after)
                        : "rcx", "r11", "memory", "xmm5");
                    return memcmp(before, after, 32) == 0 ? "AVX" : memcmp(before, after, 16) == 0 ? "SSE" : "nothing";
                }
                int main(void) {
                    struct sigaction action = {.sa_sigaction = change, .sa_flags = SA_SIGINFO};
                    sigaction(SIGUSR1, &action, 0);
                    const char *first = kept(0), *small = kept(832), *large = kept(own + 64);
                    printf("%s %s %s\\n", first, small, large);
                    return 0;
                }
                """)
            try scratch.prepare("cc -O1 -o frames frames.c")
            let told = try scratch.run(["./frames"])
            #expect(told.exitStatus == 0 && told.output == "AVX AVX SSE\n", "\(told)")
        }

        // This processor's own parts: AVX is where the manual has it, in each that has it.
        @Test func thisProcessor() throws {
            let own = try #require(area_parts())
            #expect(own[2].bytes == 0 || own[2].at == 576 && own[2].bytes == 256)
            #expect(own[0].bytes == 0 && own[1].bytes == 0)
        }
    #endif
}
