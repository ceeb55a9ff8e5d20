// What --print prints, against golden text, and against readers that aren't ours: systemd's own verifier and
// a YAML parser. Nothing may be run by it.

import Glibc
import SystemPackage
import TestSupport
import Testing
import Text

@testable import Launch

@Suite struct PrintTests {
    private func options(_ change: (inout RecordingOptions) -> Void = { _ in }) -> RecordingOptions {
        var options = RecordingOptions(output: ".")
        change(&options)
        return options
    }

    @Test func systemdGolden() {
        let text = printed(
            .systemd, options: options { $0.depth = 64 }, output: nil,
            libraries: ["/usr/local/lib/heapsum/libheapsum.so"], words: ["nginx.service"])
        #expect(
            text == """
                # Has systemd record a service by heapsum \(version). Printing it has changed nothing.
                #   save as  /etc/systemd/system/nginx.service.d/heapsum.conf
                #   begin    systemctl daemon-reload && systemctl restart nginx
                #   a dump   heapdump "$(systemctl show --property=MainPID --value nginx)"
                #   or       systemctl kill --kill-who=main --signal=USR2 nginx
                #   read     heapsum /var/log/heapsum/nginx
                #   end      remove the file, then as to begin
                # All that the unit starts is recorded, ExecStartPre= and its like too: --only GLOB names what matters.
                [Service]
                Environment="LD_PRELOAD=/usr/local/lib/heapsum/libheapsum.so"
                LogsDirectory=heapsum/%N
                Environment="HEAPSUM_OUTPUT=%L/heapsum/%N"
                Environment="HEAPSUM_DEPTH=64"
                Environment="HEAPSUM_MESSAGES=%L/heapsum/%N/messages"
                """)
    }

    // systemd's verifier loads a unit with its drop-ins, and says what it doesn't know.
    @Test func systemdTakesTheDropIn() throws {
        let scratch = try Scratch()
        func verify(_ dropIn: String) throws -> String {
            try scratch.prepare("mkdir -p units/probe.service.d")
            try scratch.write("units/probe.service", "[Service]\nExecStart=/bin/sleep 1\n")
            try scratch.write("units/probe.service.d/heapsum.conf", dropIn)
            let outcome = try scratch.run([
                "systemd-analyze", "verify", "--man=no", "\(scratch.path)/units/probe.service",
            ])
            return outcome.messages.split(separator: "\n").filter {
                $0.contains("heapsum.conf") || $0.contains("probe")
            }.joined(separator: "\n") + (outcome.exitStatus == 0 ? "" : "failed")
        }
        let odd = options {
            ($0.only, $0.signal, $0.messages) = (
                ["a b", "100%", "c\"d\\e"], firstRealtimeSignal + 3, "/var/tmp/$HOME %n"
            )
        }
        #expect(try verify(printed(.systemd, options: options(), output: nil, libraries: ["/l.so"], words: [])) == "")
        #expect(
            try verify(
                printed(.systemd, options: odd, output: "/var/tmp/he ap%", libraries: ["/opt/100%/l.so"], words: ["x"]))
                == "")
        // It would have said so.
        #expect(try verify("[Service]\nEnvironmen=\"A=b\"\n").contains("heapsum.conf"))
        #expect(try verify("[Service]\nEnvironment=\"A=b\n").contains("heapsum.conf"))
    }

    @Test func kubernetesGoldenInItsHead() {
        let text = printed(.kubernetes, options: options(), output: nil, libraries: [], words: ["/usr/sbin/My_Server"])
        #expect(
            text.hasPrefix(
                """
                # Has Kubernetes record a container by heapsum \(version). Printing it has changed nothing.
                # Make it your own: your-image, and what your own manifest has beside; \
                or copy the lines marked heapsum into that.
                # heapsum:\(version) is an image that you build with heapsum installed in it; see docs/services.md.
                #   begin    kubectl apply -f FILE
                #   a dump   kubectl exec POD -c my-server -- sh -c 'kill -s USR2 1'
                #   or       kubectl debug POD --target=my-server --image=heapsum:\(version) --profile=sysadmin -it \
                -- heapdump 1
                #   fetch    kubectl cp -c my-server POD:/heapsum-images images    (before the pod is deleted: its \
                volumes go with it)
                #   read     heapsum images
                # All programs of the container are recorded, those of kubectl exec and of probes too: --only GLOB \
                names what matters.
                apiVersion: apps/v1
                kind: Deployment
                """), "\(text)")
    }

    // A YAML parser reads the values back as they were; the structure is what Kubernetes names.
    @Test func aYAMLParserReadsTheManifest() throws {
        let scratch = try Scratch()
        let odd = options { ($0.only, $0.signal, $0.depth) = (["a: b", "#x", "c\"d\\e"], firstRealtimeSignal + 3, 7) }
        try scratch.write(
            "pod.yaml",
            printed(
                .kubernetes, options: odd, output: "/data/he ap", libraries: [],
                words: ["/bin/server", "-x", "a\nb", "{}", "ü"]))
        try scratch.write(
            "read.py",
            """
            import json, yaml
            manifest = yaml.safe_load(open("pod.yaml"))
            assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "Deployment")
            template = manifest["spec"]["template"]
            assert template["metadata"]["labels"] == manifest["spec"]["selector"]["matchLabels"] == {"app": "server"}
            pod = template["spec"]
            [init], [container] = pod["initContainers"], pod["containers"]
            volumes = {volume["name"] for volume in pod["volumes"]}
            assert all("emptyDir" in volume for volume in pod["volumes"])
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounts) == volumes == {"heapsum", "heapsum-images"}, mounts
            environment = {entry["name"]: entry["value"] for entry in container["env"]}
            assert all(isinstance(value, str) for value in environment.values())
            assert init["command"][0] == "cp" and init["command"][-1] == environment["LD_PRELOAD"]
            assert environment["LD_PRELOAD"].startswith(mounts["heapsum"] + "/")
            assert environment["HEAPSUM_OUTPUT"] == mounts["heapsum-images"]
            assert init["volumeMounts"] == [{"name": "heapsum", "mountPath": mounts["heapsum"]}]
            print(json.dumps([container["command"], environment], sort_keys=True))
            """)
        // Debian's own python3: python3-yaml is for that one.
        let outcome = try scratch.run(["/usr/bin/python3", "read.py"])
        #expect(
            outcome
                == Outcome(
                    waitStatus: 0,
                    output: #"""
                        [["/bin/server", "-x", "a\nb", "{}", "\u00fc"], {"HEAPSUM_DEPTH": "7", "HEAPSUM_MESSAGES": \#
                        "/data/he ap/messages", "HEAPSUM_ONLY": "a: b:#x:c\"d\\e", "HEAPSUM_OUTPUT": "/data/he ap", \#
                        "HEAPSUM_SIGNAL": "\#(firstRealtimeSignal + 3)", "LD_PRELOAD": "/heapsum/libheapsum.so"}]

                        """#, messages: ""))
    }

    @Test func nothingIsRunAndWrongWordsAreRefused() throws {
        let scratch = try Scratch()
        for kind in ["systemd", "kubernetes"] {
            let outcome = try scratch.record(["touch", "ran"], options: ["--print", kind, "-o", "images"])
            #expect(
                outcome.exitStatus == 0 && outcome.messages.isEmpty
                    && outcome.output.contains("\(scratch.path)/images"), "\(outcome)")
            #expect(outcome.output.hasSuffix("\n") && !outcome.output.hasSuffix("\n\n"))
            #expect(try scratch.record([], options: ["--print", kind]).exitStatus == 0)
        }
        #expect(access("\(scratch.path)/ran", F_OK) != 0 && access("\(scratch.path)/images", F_OK) != 0)
        for options in [
            ["--print", "upstart"], ["--print", "systemd", "--quiet"], ["--print", "systemd", "--exec"],
            ["--print", "systemd", "--depth", "-1"],
        ] {
            let outcome = try scratch.record(["true"], options: options)
            #expect(outcome.exitStatus == 125 && outcome.output.isEmpty && !outcome.messages.isEmpty, "\(options)")
        }
        // What can't be recorded is refused now rather than at the service's start.
        try scratch.prepare("echo 'int main(void){return 0;}' | cc -static -x c -o program -")
        let refused = try scratch.record(["./program"], options: ["--print", "systemd"])
        #expect(refused.exitStatus == 125 && refused.messages.contains("statically linked"))
    }
}
