// Samples on their way to a receiver while they are gathered: a real listener on a socket, which goes away, dies with
// what it had not read, refuses, and comes back. What it got in the end is held against the recording.

import Glibc
import TestSupport
import Testing

@testable import Watch

private let heapwatch = Built.products + "/heapwatch"

@Suite struct FollowTests {
    /// Listens on a port and keeps what comes, a line each: reads each connection to its end. `port` is a file: where
    /// it has a number, that port is taken again.
    private static let listener = """
        import os, socket, sys
        name, kept, how = sys.argv[1:4]
        port = int(open(name).read()) if os.path.exists(name) else 0
        s = socket.create_server(("127.0.0.1", port), reuse_port=False)
        open(name + ".new", "w").write(str(s.getsockname()[1])); os.rename(name + ".new", name)
        while True:
            c, _ = s.accept()
            if how == "dies":
                # With bytes in its socket that it never read.
                c.recv(1000); os._exit(0)
            data = b"".join(iter(lambda: c.recv(65536), b"")) if how == "graphite" else b""
            if how in ("post", "refuses"):
                while b"\\r\\n\\r\\n" not in data: data += c.recv(65536)
                head, body = data.split(b"\\r\\n\\r\\n", 1)
                length = int([l.split(b":")[1] for l in head.split(b"\\r\\n") \
                    if l.lower().startswith(b"content-length")][0])
                while len(body) < length: body += c.recv(65536)
                assert head.startswith(b"POST /api/metrics HTTP/1.1") and b"openmetrics-text" in head and \
                body.endswith(b"# EOF\\n")
                data = body if how == "post" else b""
            # Before the answer: what is answered is there.
            with open(kept, "ab") as file: file.write(data); file.flush()
            if how == "refuses": c.sendall(b"HTTP/1.1 503 Service Unavailable\\r\\n\\r\\n")
            if how == "post": c.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
            c.close()
        """

    private func listen(_ scratch: Scratch, _ how: String) throws -> Running {
        try scratch.write("listener.py", Self.listener)
        let running = try scratch.start(["python3", "listener.py", "port", "kept", how])
        let isThere = try eventually {
            guard access("\(scratch.path)/port", R_OK) == 0 else { return false }
            let number = try port(scratch)
            return connects(number)
        }
        #expect(isThere)
        return running
    }

    private func port(_ scratch: Scratch) throws -> UInt16 { UInt16(try contents("\(scratch.path)/port")) ?? 0 }

    /// A connection that is no sample's would be one to the listener: /proc tells whether it listens.
    private func connects(_ port: UInt16) -> Bool {
        guard let text: String = try? contents("/proc/net/tcp") else { return false }
        let hex = String(port, radix: 16, uppercase: true)
        return text.split(separator: "\n").contains {
            $0.contains("0100007F:\(String(repeating: "0", count: 4 - hex.count) + hex) 00000000:0000 0A")
        }
    }

    private func end(_ running: Running) throws -> Outcome {
        kill(running.pid, SIGTERM)
        return try running.wait()
    }

    /// Everything that a recording holds, as the receiver has to have it.
    private func expected(_ scratch: Scratch) throws -> [Substring] {
        try scratch.run([heapwatch, "export", "w", "--format", "graphite"]).output.split(separator: "\n")
    }

    @Test func aReceiverThatGoesAndComesLosesNothing() throws {
        let scratch = try Scratch()
        let gathering = try scratch.start([
            heapwatch, "-o", "w", "--interval", "200ms", "--quiet", "--pid", "\(getpid())",
        ])
        #expect(eventually { (try? samples(in: "\(scratch.path)/w").samples.count) ?? 0 > 2 })
        var listener = try listen(scratch, "graphite")
        let place = "127.0.0.1:\(try port(scratch))"
        let following = try scratch.start([heapwatch, "export", "w", "--format", "graphite", "--to", place, "--follow"])
        func kept() -> Int { ((try? contents("\(scratch.path)/kept")) ?? "").split(separator: "\n").count }
        #expect(eventually { kept() > 1000 })
        // It goes; for a while nobody listens; then one listens that dies with bytes it hasn't read; then it is back.
        kill(listener.pid, SIGKILL)
        _ = try listener.wait()
        #expect(try eventually { try contents(following.messagesPath).contains("samples stay in w") })
        let dying = try listen(scratch, "dies")
        _ = try dying.wait()
        let before = kept()
        listener = try listen(scratch, "graphite")
        let isBack = try eventually(seconds: 60) {
            let said: String = try contents(following.messagesPath)
            return kept() > before && said.contains("is back")
        }
        #expect(isBack)
        // The sender is killed, and started again, while samples go on.
        kill(following.pid, SIGKILL)
        _ = try following.wait()
        let again = try scratch.start([heapwatch, "export", "w", "--format", "graphite", "--to", place, "--follow"])
        #expect(try again.isReady(for: SIGTERM))
        usleep(700_000)
        let gathered = try end(gathering)
        #expect(gathered.exitStatus == 0)
        let outcome = try end(again)
        #expect(outcome.exitStatus == 0 && outcome.messages.contains(" sent to \(place)"), "\(outcome)")
        let isComplete = try eventually {
            let text: String = try contents("\(scratch.path)/kept")
            let all = try expected(scratch), lines = text.split(separator: "\n")
            return lines.count >= all.count && Set(lines) == Set(all)
        }
        #expect(isComplete)
        _ = try end(listener)
        // And little of it twice: what was on its way when something died.
        let text: String = try contents("\(scratch.path)/kept")
        let all = try expected(scratch)
        #expect(text.split(separator: "\n").count < 2 * all.count)
    }

    @Test func openMetricsArePosted() throws {
        let scratch = try Scratch()
        var listener = try listen(scratch, "refuses")
        let place = "http://127.0.0.1:\(try port(scratch))/api/metrics"
        let gathering = try scratch.start([heapwatch, "-o", "w", "--interval", "300ms", "--quiet", "--name", "none"])
        #expect(eventually { (try? samples(in: "\(scratch.path)/w").samples.count) ?? 0 > 1 })
        let following = try scratch.start([
            heapwatch, "export", "w", "--format", "openmetrics", "--to", place, "--follow",
        ])
        #expect(
            try eventually { try contents(following.messagesPath).contains("answers HTTP/1.1 503 Service Unavailable") }
        )
        _ = try end(listener)
        listener = try listen(scratch, "post")
        func count() -> Int { ((try? contents("\(scratch.path)/kept")) ?? "").components("# EOF\n") }
        #expect(eventually(seconds: 60) { count() > 5 })
        _ = try end(gathering)
        let outcome = try end(following)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        // A text a sample, and none left out.
        let recorded = try samples(in: "\(scratch.path)/w").samples.count
        #expect(count() == recorded, "\(count()) of \(recorded): \(outcome)")
        _ = try end(listener)
    }

    @Test func aFileHasTheNewest() throws {
        let scratch = try Scratch()
        let gathering = try scratch.start([heapwatch, "-o", "w", "--interval", "200ms", "--quiet", "--name", "none"])
        #expect(eventually { (try? samples(in: "\(scratch.path)/w").samples.count) ?? 0 > 1 })
        let following = try scratch.start([
            heapwatch, "export", "w", "--format", "openmetrics", "--follow", "-o", "now.prom",
        ])
        func time() -> Substring {
            ((try? contents("\(scratch.path)/now.prom")) ?? "").split(separator: "\n").last {
                $0.contains("column=\"meminfo.MemFree\"")
            }?.split(separator: " ").last ?? ""
        }
        #expect(eventually { !time().isEmpty })
        let first = time()
        #expect(eventually { time() != first && !time().isEmpty })
        _ = try end(gathering)
        #expect(try end(following).exitStatus == 0)
        let wrong = try scratch.run([heapwatch, "export", "w", "--format", "csv", "--to", "x:1", "--follow"])
        #expect(wrong.exitStatus == 64)
        let none = try scratch.run([heapwatch, "export", "nowhere", "--format", "csv", "--follow"])
        #expect(none.exitStatus == 2 && none.messages.contains("nowhere"), "\(none)")
    }
}

extension String {
    /// How often a text stands in it.
    fileprivate func components(_ text: String) -> Int {
        var count = 0, rest = self[...]
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
