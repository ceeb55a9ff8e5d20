// The output of `heaprun --print`: text that makes a service manager record a program, for a person to read, change and
// install. Nothing is run or written. Each value is quoted so that both systemd and YAML read it as one value. The text
// must work for services of any user, with a read-only root.

import Proc
import SystemPackage
import Text

/// The kinds of `--print`.
package enum PrintKind: String, CaseIterable, Sendable {
    case systemd, kubernetes
}

/// The text that sets up a recording, without a newline at the end.
///
/// - Parameters:
///   - options: as for a recording, without the run directory.
///   - output: the absolute path given by -o; nil if -o was not given.
///   - libraries: the preloaded libraries' paths where the service runs (systemd); a pod has its own ones.
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

// LogsDirectory instead of ReadWritePaths: systemd creates the directory for the service's user, and a service without
// its own mount namespace doesn't get one. It sets LOGS_DIRECTORY in the service's environment.
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
    // %L and %N are systemd's own and must stay. Percent signs in all other text are doubled.
    let directory = output.map { systemdText($0.text) } ?? "%L/heapsum/%N"
    for (name, value) in options.variables {
        lines.append("Environment=\"\(name)=\(name == "HEAPSUM_OUTPUT" ? directory : systemdText(value))\"")
    }
    // Here no heaprun prints the library's messages at the end.
    if options.messages == nil { lines.append("Environment=\"HEAPSUM_MESSAGES=\(directory)/messages\"") }
    return lines.joined(separator: "\n")
}

private func unitName(_ word: String) -> String {
    let name = word.hasSuffix(".service") ? String(word.dropLast(8)) : word
    // The characters that systemd allows in a unit's name; others would need systemd-escape.
    return String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || ":-_.\\@".contains($0)) ? $0 : "-" })
}

private func systemdText(_ text: String) -> String {
    escapedInQuotes(text).split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
}

// MARK: - Kubernetes

private let podLibrary = "/heapsum/libheapsum.so"
private let podMappings = "/heapsum/libheapsum-mappings.so"
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
        // A shell's kill does not know realtime signals by name.
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
    let copied =
        options.mappings
        ? ["/usr/local/lib/heapsum/libheapsum.so", "/usr/local/lib/heapsum/libheapsum-mappings.so", "/heapsum/"]
        : ["/usr/local/lib/heapsum/libheapsum.so", podLibrary]
    let preload = options.mappings ? "\(podLibrary):\(podMappings)" : podLibrary
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
                  command: [\((["cp"] + copied).map(yaml).joined(separator: ", "))]
                  volumeMounts:
                    - name: heapsum
                      mountPath: "/heapsum"
              containers:
                - name: \(yaml(name))
                  image: "your-image"
        """)
    if !words.isEmpty { lines.append("          command: [\(words.map(yaml).joined(separator: ", "))]") }
    lines.append("          env:                                          # heapsum: all of these")
    for (name, value) in [(name: "LD_PRELOAD", value: preload)] + options.variables {
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

// A label as in RFC 1123: lower-case letters, digits and dashes, at most 63 characters.
private func labelName(_ word: String) -> String {
    let label = String(word.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }.prefix(63))
    let trimmed = label.drop { $0 == "-" }
    let end = trimmed.lastIndex { $0 != "-" }.map { trimmed.index(after: $0) } ?? trimmed.startIndex
    let name = String(trimmed[..<end])
    return name.isEmpty ? "app" : name
}

private func yaml(_ text: String) -> String { "\"\(escapedInQuotes(text))\"" }

// MARK: - Text

/// Escapes a text for double quotes, for both YAML and systemd: both know \\, \" and \xNN.
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

// Nothing is quoted in a comment: characters that would end its line become question marks.
private func oneLine(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        result.unicodeScalars.append(
            scalar.value < 0x20 || scalar.value == 0x7F || scalar.pathByte != nil ? "?" : scalar)
    }
    return result
}

extension RecordingOptions {
    /// The dump signal's name; nil for none.
    fileprivate var signalName: String? {
        guard let signal else { return "USR2" }
        return signal == 0 ? nil : Text.signalName(signal)
    }
}
