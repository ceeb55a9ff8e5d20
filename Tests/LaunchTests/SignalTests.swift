// heaprun stands in for the program: what is sent to it reaches the program once, and the program's stops and ends
// are its own. Oracle: what a shell's trap and a terminal's job control see.

import Glibc
import TestSupport
import Testing
import Text

@testable import Launch

@Suite struct SignalTests {
    @Test(arguments: [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGQUIT, SIGABRT, SIGALRM])
    func signalsArePassedOn(number: Int32) throws {
        let scratch = try Scratch()
        // The trap counts; the program goes on for a while after it, so that a signal passed on twice is seen.
        let name = signalName(number)
        let script =
            "count=0; trap 'count=$((count+1))' \(name); echo ready; i=0; "
            + "while [ $count = 0 ] && [ $i -lt 3000 ]; do sleep 0.02; i=$((i+1)); done; "
            + "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.02; done; exit $count"
        let running = try scratch.startRecorded(["sh", "-c", script])
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        kill(running.pid, number)
        #expect(try running.wait().exitStatus == 1)
    }

    @Test func realtimeSignalsArePassedOn() throws {
        let scratch = try Scratch()
        try scratch.write(
            "wait.py",
            "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 2])\nprint('ready', "
                + "flush=True)\nprint(signal.sigwait([signal.SIGRTMIN + 2]) - signal.SIGRTMIN)\n"
        )
        let running = try scratch.startRecorded(["python3", "wait.py"])
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        kill(running.pid, firstRealtimeSignal + 2)
        #expect(try running.wait().output == "ready\n2\n")
    }

    @Test func aSignalThatEndsTheProgramEndsIt() throws {
        let running = try Scratch().startRecorded(["sleep", "60"])
        _ = try running.child()
        kill(running.pid, SIGTERM)
        let outcome = try running.wait()
        // heaprun exits; it isn't killed.
        #expect(outcome.waitStatus == (128 + SIGTERM) << 8)
    }

    @Test func theProgramOutlivesItsLauncher() throws {
        let running = try Scratch().startRecorded(["sleep", "60"])
        let child = try running.child()
        kill(running.pid, SIGKILL)
        _ = try running.wait()
        // Nobody is left to remove the run directory, and heaprun's socket in it. The program may just be starting.
        var directory: Substring?
        let isThere = try eventually {
            directory = try contents("/proc/\(child)/environ").split(separator: "\0")
                .first { $0.hasPrefix("HEAPSUM_RUN_DIR=") }?.dropFirst(16)
            return try directory != nil && contents("/proc/\(child)/comm") == "sleep\n"
        }
        try #require(isThere && kill(child, 0) == 0)
        usleep(100_000)
        #expect(try contents("/proc/\(child)/stat").contains("(sleep) S "))
        kill(child, SIGKILL)
        let place = String(try #require(directory))
        #expect(unlink(place + "/" + RequestSocket.name) == 0 && rmdir(place) == 0)
    }

    // A stop by SIGSTOP is the program's alone: whoever continues the program must not find heaprun stopped.
    @Test func aStoppedProgramGoesOnWhenContinued() throws {
        let running = try Scratch().startRecorded(["sh", "-c", "echo ready; sleep 0.3; exit 3"])
        let child = try running.child()
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        kill(child, SIGSTOP)
        usleep(500_000)
        kill(child, SIGCONT)
        #expect(try running.wait().exitStatus == 3)
    }

    // A terminal of its own, with a session leader that does what a shell does: a group for the job, the foreground for
    // the group.
    @Test func jobControlStopsAndContinuesTheJob() throws {
        let scratch = try Scratch()
        try scratch.write(
            "terminal.py",
            """
            import os, pty, signal, sys, time
            leader, terminal = pty.fork()
            if leader == 0:
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                job = os.fork()
                if job == 0:
                    os.setpgid(0, 0)
                    os.tcsetpgrp(0, os.getpid())
                    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                    os.execv(sys.argv[1], sys.argv[1:])
                _, status = os.waitpid(job, os.WUNTRACED)
                assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTSTP, status
                print("STOPPED", flush=True)
                time.sleep(0.2)
                os.tcsetpgrp(0, job)
                os.killpg(job, signal.SIGCONT)
                _, status = os.waitpid(job, os.WUNTRACED)
                os.tcsetpgrp(0, os.getpid())
                print("ENDED", os.WEXITSTATUS(status), flush=True)
                os._exit(0)
            seen = b""
            def read(wanted):
                global seen
                while wanted not in seen:
                    seen += os.read(terminal, 1000)
            read(b"READY")
            os.write(terminal, b"\\x1a")
            read(b"STOPPED")
            read(b"CONTINUED")
            os.write(terminal, b"\\x03")
            read(b"ENDED")
            try:
                while True: seen += os.read(terminal, 1000)
            except OSError: pass
            os.write(1, seen.replace(b"\\r", b""))
            """)
        // No shell: one that has just vforked is not stopped by a terminal's stop, but waits for its child, which is.
        try scratch.write(
            "job.py",
            """
            import os, signal, time
            interrupts = 0
            def interrupt(*_):
                global interrupts
                interrupts += 1
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGCONT, lambda *_: os.write(1, b"CONTINUED\\n"))
            os.write(1, b"READY\\n")
            while interrupts == 0: time.sleep(0.02)
            time.sleep(0.3)
            os._exit(40 + interrupts)
            """)
        let outcome = try scratch.run(
            ["timeout", "60", "python3", "terminal.py", Built.heaprun, "--quiet", "python3", "job.py"],
            variables: ["HEAPSUM_LIBRARY": emptyLibrary])
        // One interrupt from the terminal is one interrupt to the program.
        #expect(outcome.output.contains("ENDED 41"), "\(outcome)")
    }

    @Test(.enabled(if: system("unshare --pid --fork true 2>/dev/null") == 0, "needs the right to make a PID namespace"))
    func asTheFirstProcessItReapsOrphans() throws {
        let scratch = try Scratch()
        // An orphan that ends after its parent would stay a zombie, to which a signal can be sent.
        let script = """
            (sh -c 'sleep 0.1 & echo $! >orphan' &)
            until [ -s orphan ]; do sleep 0.02; done
            i=0; while kill -0 $(cat orphan) 2>/dev/null && [ $i -lt 1000 ]; do sleep 0.02; i=$((i+1)); done
            ps -e -o stat=,comm= | grep -c 'Z.*sleep'
            """
        let outcome = try scratch.run(
            ["unshare", "--pid", "--fork", "--mount-proc", Built.heaprun, "--quiet", "/bin/sh", "-c", script],
            variables: ["HEAPSUM_LIBRARY": emptyLibrary])
        #expect(outcome.output == "0\n", "\(outcome)")
    }

    /// However the signal's name is written, it is the signal that dumps: the library is handed its number.
    @Test(arguments: ["usr1", "sigusr1", "SIGUSR1", "RTMAX-1", "rtmin+2", "SYS", "poll", "36"])
    func aSignalIsOneHoweverItIsWritten(name: String) throws {
        let number = try dumpSignalNumber(name), scratch = try Scratch()
        for words in [["--signal", name], []] {
            let running = try scratch.startRecorded(
                ["/bin/sh", "-c", "echo $HEAPSUM_SIGNAL; while :; do sleep 0.05; done"],
                options: words + ["--quiet", "-o", "images"], library: Built.interposer,
                variables: ["HEAPSUM_SIGNAL": words.isEmpty ? name : nil])
            let child = try running.child()
            #expect(try eventually { try contents(running.outputPath) == "\(number)\n" })
            kill(child, number)
            #expect(
                eventually {
                    access("\(scratch.path)/images/dash.\(child).1.heap", F_OK) == 0
                        || access("\(scratch.path)/images/sh.\(child).1.heap", F_OK) == 0
                })
            kill(child, SIGKILL)
            _ = try running.wait()
        }
    }

    @Test func noSignalMeansNone() throws {
        let scratch = try Scratch()
        for name in ["none", "NONE"] {
            let outcome = try scratch.record(
                ["/bin/sh", "-c", "echo $HEAPSUM_SIGNAL; kill -USR2 $$; echo no"],
                options: ["--signal", name, "--quiet"], library: Built.interposer)
            #expect(outcome.exitStatus == 128 + SIGUSR2 && outcome.output == "0\n", "\(outcome)")
        }
        for wrong in ["usr3", "RTMIN+31", "0", "KILL", "abrt"] {
            let outcome = try scratch.record(["true"], options: ["--signal", wrong])
            #expect(
                outcome.exitStatus == 125 && outcome.messages.hasPrefix("heaprun: --signal \(wrong): "), "\(outcome)")
            let printed = try scratch.record(["server"], options: ["--print", "kubernetes", "--signal", wrong])
            #expect(printed.exitStatus == 125 && printed.output.isEmpty, "\(printed)")
        }
    }
}
