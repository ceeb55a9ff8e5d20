// heapdump takes an image for a process's own only where the image says so, and is its user's: a file that
// was put in the image's place, another process's image, and a forged one are refused. The forger is a script.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct BelongingTests {
    /// Maps a copy of a real running image, shared, its header changed to the mapping process's own; argument by
    /// argument, what is forged otherwise. Then waits for its standard input's end.
    private static let forger = """
        import mmap, os, sys, time
        pid = os.getpid()
        start = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
        boot = bytes.fromhex(open("/proc/sys/kernel/random/boot_id").read().strip().replace("-", ""))
        data = bytearray(open(sys.argv[1], "rb").read())
        lie = sys.argv[3]
        data[40:44] = (pid + (lie == "pid")).to_bytes(4, "little")
        data[48:56] = (start - (lie == "start")).to_bytes(8, "little")
        data[56:72] = bytes(16) if lie == "noboot" else bytes(b ^ (lie == "boot") for b in boot)
        file = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(file, data)
        if lie == "owner": os.fchown(file, 12345, 12345)
        mapped = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(file)
        if lie == "owner": os.setresuid(65534, 65534, 65534)
        print("ready", flush=True)
        time.sleep(600)
        """

    private func runningImage(_ scratch: Scratch) throws -> String {
        let outcome = try scratch.run(
            ["/bin/sh", "-c", "kill -9 $$"],
            variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path])
        #expect(outcome.exitStatus == 137)
        let path = try #require(try scratch.shell("ls *.heap").output.split(separator: "\n").first)
        try write(compactImage("\(scratch.path)/\(path)"), to: "\(scratch.path)/real")
        unlink("\(scratch.path)/\(path)")
        return "\(scratch.path)/real"
    }

    /// What heapdump says of a process that maps an image with this lie in it.
    private func dump(_ lie: String) throws -> Outcome {
        let scratch = try Scratch()
        let image = try runningImage(scratch)
        try scratch.write("forge.py", Self.forger)
        try scratch.prepare("chmod 755 .")
        let forger = try scratch.start(["python3", "forge.py", image, "\(scratch.path)/forged.heap", lie])
        defer {
            kill(forger.pid, SIGKILL)
            _ = try? forger.wait()
        }
        let ready = try eventually { try contents(forger.outputPath).contains("ready") }
        let messages = try contents(forger.messagesPath)
        #expect(ready, "\(messages)")
        return try scratch.run([Built.heapdump, "--timeout", "0", "\(forger.pid)"])
    }

    @Test(arguments: ["nothing", "noboot"]) func whatBelongsIsTaken(_ lie: String) throws {
        let outcome = try dump(lie)
        #expect(outcome.exitStatus == 0 && outcome.output.hasSuffix(".heap\n"), "\(outcome)")
    }

    @Test(arguments: ["pid", "start", "boot"]) func whatBelongsToAnotherProcessIsRefused(_ lie: String) throws {
        let outcome = try dump(lie)
        #expect(
            outcome.exitStatus == 2 && outcome.output == "" && outcome.messages.contains("not recorded"), "\(outcome)")
    }

    @Test(.enabled(if: geteuid() == 0, "only root can give a file to another user")) func anotherUsersFileIsRefused()
        throws
    {
        // Seen by a heapdump of the process's own user, and by root's alike.
        let outcome = try dump("owner")
        #expect(outcome.exitStatus == 2 && outcome.output == "", "\(outcome)")
    }

    /// Another image under the path of the one that is mapped: the mapped one is dumped.
    @Test func aFilePutInTheImagesPlaceIsNotRead() throws {
        let scratch = try Scratch()
        let planted = try runningImage(scratch)
        let program = try scratch.start(
            ["perl", "-e", "$| = 1; $kept = 'x' x 7654321; print 'ready'; sleep 600"],
            variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path, "HEAPSUM_ONLY": "perl"])
        defer {
            kill(program.pid, SIGKILL)
            _ = try? program.wait()
        }
        #expect(try eventually { try contents(program.outputPath).contains("ready") })
        let path =
            "\(scratch.path)/" + (try #require(try scratch.shell("ls perl*.heap").output.split(separator: "\n").first))
        // The forged header is right in all but its inode.
        var bytes = [UInt8](try contentsOf(planted))
        let header = [UInt8](try contentsOf(path, most: 72))
        bytes.replaceSubrange(40 ..< 72, with: header[40 ..< 72])
        try write(bytes, to: "\(scratch.path)/other")
        try scratch.prepare("rm '\(path)'; mv other '\(path)'")
        let outcome = try scratch.run([Built.heapdump, "\(program.pid)"])
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let dump = try HeapImage(path: String(outcome.output.dropLast()))
        #expect(try dump.census().liveBytes > 7_654_321)
    }

    private func contentsOf(_ path: String, most: Int = 1 << 24) throws -> [UInt8] {
        let source = try FileSource(path: path)
        var bytes = [UInt8](repeating: 0, count: Int(min(source.length, UInt64(most))))
        let count = try bytes.withUnsafeMutableBytes { try source.read(into: $0, at: 0) }
        return [UInt8](bytes[..<count])
    }
}
