// What `heaprun --print` prints: text that has a service manager record a program, for a person to read,
// change and install. Nothing is run or written, and no value can break out of its place: each is quoted as
// systemd and YAML both read it. The text must hold for a service of any user, with a read-only root.

import Proc
import SystemPackage
import Text

/// What `--print` was asked for.
package enum PrintKind: String, CaseIterable, Sendable {
    case systemd, kubernetes
}

/// The text that would set a recording up, without the last line's end.
///
/// - Parameters:
///   - options: as for a recording; the run directory is left out.
///   - output: what -o named, a path from the root; nil where nothing was asked for.
///   - libraries: the preloaded libraries' paths where the service runs (systemd); a pod has its own.
///   - words: the program and its arguments, or a unit's name; may be empty.
package func printed(
    _ kind: PrintKind, options: RecordingOptions, output: FilePath?, libraries: [FilePath], words: [String]
) -> String {
    switch kind {
    case .systemd: systemdDropIn(options, output, libraries, words)
    case .kubernetes: kubernetesManifest(options, output, words)
    }
}

// MARK: - systemd

// LogsDirectory rather than ReadWritePaths: systemd makes it, for whichever user the service has, and it gives
// a service that has no mount namespace of its own none. It sets LOGS_DIRECTORY in the service's environment.
private func systemdDropIn(
    _ options: RecordingOptions, _ output: FilePath?, _ libraries: [FilePath], _ words: [String]
) -> String {
    let unit = words.first.map { unitName(FilePath(text: $0).lastComponent?.text ?? $0) }
    let name = unit ?? "NAME"
    let place = output?.text ?? "/var/log/heapsum/\(name)"
    var lines = [
        "# Has systemd record a service by heapsum \(version). Printing it has changed nothing.",
        "#   save as  /etc/systemd/system/\(name).service.d/heapsum.conf",
        "#   begin    systemctl daemon-reload && systemctl restart \(name)",
        "#   a dump   heapdump \"$(systemctl show --property=MainPID --value \(name))\"",
    ]
    if let signal = options.signalName {
        lines.append("#   or       systemctl kill --kill-who=main --signal=\(signal) \(name)")
    }
    lines += [
        "#   read     heapsum \(oneLine(shellWord(place)))",
        "#   end      remove the file, then as to begin",
    ]
    if unit == nil { lines.append("# NAME is the unit's name, without .service.") }
    if options.only.isEmpty && options.skip.isEmpty {
        lines.append(
            "# All that the unit starts is recorded, ExecStartPre= and its like too: --only GLOB names what matters.")
    }
    lines += [
        "[Service]",
        "Environment=\"LD_PRELOAD=\(systemdText(preloadValue(libraries: libraries.map(\.text), existing: nil)))\"",
    ]
    var options = options
    options.runDirectory = nil
    if let output {
        lines.insert(
            "# \(oneLine(output.text)) must be there, and be the service's to write; with ProtectSystem= it needs "
                + "ReadWritePaths= too.",
            at: lines.count - 2)
    } else {
        lines.append("LogsDirectory=heapsum/%N")
    }
    // %L and %N are systemd's own and must stay; all else has its percent signs doubled.
    let directory = output.map { systemdText($0.text) } ?? "%L/heapsum/%N"
    for (name, value) in options.variables {
        lines.append("Environment=\"\(name)=\(name == "HEAPSUM_OUTPUT" ? directory : systemdText(value))\"")
    }
    // Nobody is there to say at the end what the library had to say.
    if options.messages == nil { lines.append("Environment=\"HEAPSUM_MESSAGES=\(directory)/messages\"") }
    return lines.joined(separator: "\n")
}

private func unitName(_ word: String) -> String {
    let name = word.hasSuffix(".service") ? String(word.dropLast(8)) : word
    // What systemd takes in a unit's name; the rest would need systemd-escape.
    return String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || ":-_.\\@".contains($0)) ? $0 : "-" })
}

private func systemdText(_ text: String) -> String {
    escapedInQuotes(text).split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
}

// MARK: - Kubernetes

private let podLibrary = "/heapsum/libheapsum.so"
private let podOutput = "/heapsum-images"

private func kubernetesManifest(_ options: RecordingOptions, _ output: FilePath?, _ words: [String]) -> String {
    let name = words.first.map { labelName(FilePath(text: $0).lastComponent?.text ?? $0) } ?? "app"
    var options = options
    options.runDirectory = nil
    options.output = output ?? FilePath(podOutput)
    let place = options.output
    if options.messages == nil { options.messages = place.appending("messages") }
    // With heapsum's own image beside it, a container needs neither a shell nor a kill of its own.
    var dumps = ["kubectl debug POD --target=\(name) --image=heapsum:\(version) --profile=sysadmin -it -- heapdump 1"]
    if let signal = options.signalName {
        // A shell's kill knows no realtime signal by name.
        let word = options.signal.map { $0 >= firstRealtimeSignal ? String($0) : signal } ?? signal
        dumps.insert("kubectl exec POD -c \(name) -- sh -c 'kill -s \(word) 1'", at: 0)
    }
    var lines = [
        "# Has Kubernetes record a container by heapsum \(version). Printing it has changed nothing.",
        "# Make it your own: your-image, and what your own manifest has beside; or copy the lines marked heapsum into "
            + "that.",
        "# heapsum:\(version) is an image that you build with heapsum installed in it; see docs/services.md.",
        "#   begin    kubectl apply -f FILE",
    ]
    lines += zip(["a dump", "or    "], dumps).map { "#   \($0)   \($1)" }
    lines += [
        "#   fetch    kubectl cp -c \(name) POD:\(oneLine(place.text)) images    (before the pod is deleted: its "
            + "volumes go with it)",
        "#   read     heapsum images",
    ]
    if options.only.isEmpty && options.skip.isEmpty {
        lines.append(
            "# All programs of the container are recorded, those of kubectl exec and of probes too: --only GLOB names "
                + "what matters."
        )
    }
    lines.append(
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: \(yaml(name))
        spec:
          replicas: 1
          selector:
            matchLabels:
              app: \(yaml(name))
          template:
            metadata:
              labels:
                app: \(yaml(name))
            spec:
              initContainers:
                - name: heapsum                               # heapsum: brings the library
                  image: \(yaml("heapsum:\(version)"))
                  command: ["cp", "/usr/local/lib/heapsum/libheapsum.so", \(yaml(podLibrary))]
                  volumeMounts:
                    - name: heapsum
                      mountPath: "/heapsum"
              containers:
                - name: \(yaml(name))
                  image: "your-image"
        """)
    if !words.isEmpty { lines.append("          command: [\(words.map(yaml).joined(separator: ", "))]") }
    lines.append("          env:                                          # heapsum: all of these")
    for (name, value) in [(name: "LD_PRELOAD", value: podLibrary)] + options.variables {
        lines += ["            - name: \(yaml(name))", "              value: \(yaml(value))"]
    }
    lines.append(
        """
                  volumeMounts:
                    - name: heapsum                           # heapsum: the library
                      mountPath: "/heapsum"
                      readOnly: true
                    - name: heapsum-images                    # heapsum: images and dumps
                      mountPath: \(yaml(place.text))
              volumes:
                - name: heapsum                               # heapsum
                  emptyDir: {}
                - name: heapsum-images                        # heapsum: on the node's disk, as medium Memory
                  emptyDir:                                   # would count as the container's
                    sizeLimit: "2Gi"
        """)
    return lines.joined(separator: "\n")
}

// A name as RFC 1123 has labels: lower-case letters, digits and dashes, of 63 characters at the most.
private func labelName(_ word: String) -> String {
    let label = String(word.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }.prefix(63))
    let trimmed = label.drop { $0 == "-" }
    let end = trimmed.lastIndex { $0 != "-" }.map { trimmed.index(after: $0) } ?? trimmed.startIndex
    let name = String(trimmed[..<end])
    return name.isEmpty ? "app" : name
}

private func yaml(_ text: String) -> String { "\"\(escapedInQuotes(text))\"" }

// MARK: - Text

/// A text as it stands between double quotes, for YAML and for systemd alike: both know \\, \" and \xNN.
private func escapedInQuotes(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\\": result += "\\\\"
        case "\"": result += "\\\""
        case let scalar where scalar.value < 0x20 || scalar.value == 0x7F:
            result += "\\x" + hexadecimalDigits(UInt64(scalar.value), 2)
        default:
            if let byte = scalar.pathByte {
                result += "\\x" + hexadecimalDigits(UInt64(byte), 2)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
    return result
}

// In a comment nothing is quoted: what would end its line becomes a question mark.
private func oneLine(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        result.unicodeScalars.append(
            scalar.value < 0x20 || scalar.value == 0x7F || scalar.pathByte != nil ? "?" : scalar)
    }
    return result
}

extension RecordingOptions {
    /// The dump signal by name, nil for none.
    fileprivate var signalName: String? {
        guard let signal else { return "USR2" }
        return signal == 0 ? nil : Text.signalName(signal)
    }
}
