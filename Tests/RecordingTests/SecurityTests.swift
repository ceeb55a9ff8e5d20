// Who may read an image, where one may be written, and that nothing of the environment counts where a
// program has more rights than whoever started it. Oracles: stat(1), and the kernel's own AT_SECURE.

import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct SecurityTests {
    @Test func imagesAndDumpsAreTheUsersAlone() throws {
        let scratch = try Scratch()
        let program = "umask 0; exec perl -e 'system \"kill -USR2 $$\"'"
        let outcome = try scratch.run(
            ["/bin/sh", "-c", program],
            variables: scratch.recordingVariables(["HEAPSUM_SIGNAL": "USR2", "HEAPSUM_ONLY": "perl"]))
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let listed = try scratch.shell("stat -c '%a %u %n' *.heap").output.split(separator: "\n")
        #expect(listed.contains { $0.hasSuffix(".1.heap") } && listed.count >= 2)
        for line in listed { #expect(line.hasPrefix("600 \(geteuid()) "), "\(line)") }
    }

    @Test(.enabled(if: geteuid() == 0, "only root can start a program as another user"))
    func imagesBelongToTheProgramsUser() throws {
        let scratch = try Scratch()
        try scratch.prepare("chmod 777 .; cp '\(Built.interposer)' lib.so; chmod 755 lib.so")
        let outcome = try scratch.run(
            [
                "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env",
                "LD_PRELOAD=\(scratch.path)/lib.so", "/bin/ls", "/",
            ],
            variables: ["HEAPSUM_OUTPUT": scratch.path])
        #expect(outcome.exitStatus == 0, "\(outcome)")
        #expect(try scratch.shell("stat -c '%a %u' ls.*.heap").output == "600 65534\n")
    }

    /// The names that an image and a dump would take are links to another's file: it is neither followed nor written
    /// to.
    @Test func plantedLinksAreNotFollowed() throws {
        let scratch = try Scratch()
        try scratch.write("victim", "as it was\n")
        let program =
            "ln -s victim perl.$$.heap; ln -s nowhere perl.$$-2.heap; ln -s victim perl.$$.1.heap; exec perl -e "
            + "'system \"kill -USR2 $$\"'"
        let outcome = try scratch.run(
            ["/bin/sh", "-c", program],
            variables: scratch.recordingVariables(["HEAPSUM_SIGNAL": "USR2", "HEAPSUM_ONLY": "perl"]))
        #expect(outcome.exitStatus == 0, "\(outcome)")
        #expect(try contents("\(scratch.path)/victim") == "as it was\n")
        #expect(access("\(scratch.path)/nowhere", F_OK) != 0)
        let made = try scratch.shell("find . -name '*.heap' -type f").output
        // Each takes the next name that is free.
        #expect(made.contains("-3.heap") && made.contains(".2.heap") && !made.contains(".1.heap"), "\(made)")
    }

    /// Linked with the library, as LD_PRELOAD alone would not bring it into such a program, and run by another user.
    @Test(
        .enabled(if: geteuid() == 0, "only root can make a program with another user's rights"),
        arguments: ["chown 1 %; chmod 4755 %", "setcap cap_net_raw+ep %"])
    func nothingIsHonouredInASecureExecution(_ rights: String) throws {
        let scratch = try Scratch()
        try scratch.write(
            "secure.c",
            "#include <stdio.h>\n#include <stdlib.h>\n#include <sys/auxv.h>\nint main(void) { printf(\"%lu\", "
                + "getauxval(AT_SECURE)); return malloc(1000) == NULL; }\n"
        )
        try scratch.prepare(
            "chmod 755 .; cp '\(Built.interposer)' libheapsum.so; chmod 755 libheapsum.so; mkdir images; chmod 777 "
                + "images; "
                + "cc -O0 secure.c -o program -Wl,--no-as-needed -L. -l:libheapsum.so -Wl,-rpath,\(scratch.path); cp "
                + "program control; chmod 755 program control; "
                + rights.replacing("%", with: "program"))
        func run(_ program: String) throws -> Outcome {
            try scratch.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./" + program],
                variables: [
                    "HEAPSUM_OUTPUT": scratch.path + "/images", "HEAPSUM_RUN_DIR": scratch.path + "/images",
                    "HEAPSUM_MESSAGES": scratch.path + "/images/messages", "HEAPSUM_DEPTH": "wrong",
                ])
        }
        // Without the rights the same program is recorded, so the environment would have been heard.
        let control = try run("control")
        #expect(control.exitStatus == 0 && control.output == "0", "\(control)")
        #expect(try scratch.shell("ls images").output.contains("control."))
        try scratch.prepare("rm -f images/*")
        let before = try scratch.shell("ls /dev/shm").output
        let outcome = try run("program")
        #expect(outcome.exitStatus == 0 && outcome.output == "1", "\(outcome)")
        #expect(try scratch.shell("ls images").output == "")
        let after = try scratch.shell("ls /dev/shm").output.split(separator: "\n")
        #expect(!after.contains { $0.hasPrefix("program.") && !before.contains($0) })
    }
}
