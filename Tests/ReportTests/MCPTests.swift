// heapsum mcp, spoken with by a client that is not ours in language or code.

import CHeapImage
import Glibc
import TestSupport
import Testing

@Suite struct MCPTests {
    @Test func aClientIsServed() throws {
        let scratch = try Scratch()
        var builder = ImageBuilder()
        let module = builder.addModule("/opt/app", buildID: [1])
        builder.addName(heap_frame_make(module, 16), "keeper", offset: 1, flags: 1)
        let stack = builder.addStack([heap_frame_make(module, 16)])
        for index in UInt64(1) ... 3 {
            builder.addBlock(address: 0x1_0000 * index, bytes: 1000, stack: stack)
            builder.kind = index < 3 ? HEAP_KIND_DUMP : HEAP_KIND_PACKED
            builder.header.ended_ns = index * 1_000_000_000
            builder.header.dumps = UInt32(index)
            try builder.write(to: scratch.file(index < 3 ? "a.\(index).heap" : "a.heap"))
        }
        let told = try scratch.run([
            "python3", "\(Built.root)/Tests/ReportTests/Oracles/mcp_client.py", "\(Built.products)/heapsum",
            scratch.path,
        ])
        #expect(told.exitStatus == 0 && told.output == "ok\n", "\(told)")
    }

    @Test func nobodyIsThere() throws {
        let scratch = try Scratch(), heapsum = "'\(Built.products)/heapsum'"
        #expect(try scratch.shell("\(heapsum) mcp </dev/null").exitStatus == 0)
        #expect(try scratch.shell("\(heapsum) mcp something </dev/null").exitStatus == 64)
        let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"
        let full = try scratch.shell("echo '\(ping)' | \(heapsum) mcp >/dev/full")
        #expect(full.exitStatus == 2 && full.messages.contains("standard output: can't be written"), "\(full)")
    }

    @Test func theLastLineNeedsNoEndAndAPipeIsNoImage() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo a.heap")
        let call =
            #"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"tree","#
            + #""arguments":{"target":"a.heap"}}}"#
        let outcome = try scratch.shell("printf '%s\n%s' '\(call)' '\(call)' | '\(Built.products)/heapsum' mcp")
        let lines = outcome.output.split(separator: "\n")
        #expect(outcome.exitStatus == 0 && lines.count == 2, "\(outcome)")
        #expect(
            lines.allSatisfy { $0.contains("\"id\":7") && $0.contains("is no file and no directory") }, "\(outcome)")
    }

    /// A server that is ended takes the command that it runs along.
    @Test(arguments: [SIGTERM, SIGKILL]) func noCommandOutlivesTheServer(signal: CInt) throws {
        let scratch = try Scratch()
        // The command is held while it reads many files, so that it can't end by itself.
        let call =
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list","#
            + #""arguments":{"directory":"images"}}}"#
        let told = try scratch.shell(
            """
            mkdir images; for i in $(seq 3000); do head -c 5000 /dev/zero >images/$i.heap; done
            mkfifo calls
            '\(Built.products)/heapsum' mcp <calls >answers &
            server=$!
            exec 3>calls
            # One that was not held in time is answered: then another.
            size() { wc -c <answers; }
            while :; do
                before=$(size)
                echo '\(call)' >&3
                child=
                while [ -z "$child" ] && [ $(size) = $before ]; do
                    child=$(cat /proc/$server/task/$server/children)
                done
                [ -n "$child" ] && kill -STOP $child && sleep 0.2 && [ $(size) = $before ] && break
                kill -CONT $child
                while [ $(size) = $before ]; do sleep 0.01; done
            done
            kill -\(signal) $server
            wait $server
            kill -CONT $child
            runs() { grep -qs '^State:.[^ZX]' /proc/$child/status; }
            for i in $(seq 300); do runs || break; sleep 0.1; done
            runs && echo still there
            echo $(($(size) - before))
            """)
        #expect(told.output == "0\n", "\(told)")
    }
}
