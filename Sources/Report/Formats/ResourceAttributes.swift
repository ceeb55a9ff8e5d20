// Whose profile it is, in the words of OpenTelemetry's semantic conventions: process.pid, host.name and the like. A
// program's arguments are not among them, as in no format (Formats.swift).
//
// Invariant: an attribute stands for all inputs. One that they don't agree on is left out.

import Glibc
import HeapImage
import Proc
import Reduce
import Text

/// An attribute of the process and host that a profile belongs to.
package struct ResourceAttribute: Equatable, Sendable {
    package enum Value: Hashable, Sendable { case text(String), number(UInt64) }

    package var key: String
    package var value: Value

    package init(_ key: String, _ value: Value) { (self.key, self.value) = (key, value) }

    /// As a field of OpenTelemetry's message Resource.
    func write(to resource: inout ProtobufWriter) {
        resource.message(1) {
            $0.text(1, key)
            $0.message(2) {
                switch value {
                case .text(let text): $0.text(1, text)
                // Not left out where it is 0: a value is one of several fields.
                case .number(let number): $0.one(3, number)
                }
            }
        }
    }
}

extension MachineReport {
    /// What the inputs tell, with some attributes replaced or added.
    func resourceAttributes(replacing others: [ResourceAttribute]) -> [ResourceAttribute] {
        let known = reduction.inputs.map(Self.attributes)
        var agreed = known.first ?? []
        for more in known.dropFirst() { agreed.removeAll { !more.contains($0) } }
        if !agreed.contains(where: { $0.key == "service.name" }) {
            agreed.append(ResourceAttribute("service.name", .text("unknown_service")))
        }
        agreed.removeAll { known in others.contains { $0.key == known.key } }
        return agreed + others
    }

    private static func attributes(of input: Input) -> [ResourceAttribute] {
        guard let image = input.image else { return [] }
        let name = printable(image.programName), path = printable(image.program)
        var attributes = [
            // What OpenTelemetry's libraries take if nobody named the service.
            ResourceAttribute("service.name", .text("unknown_service:\(name)")),
            ResourceAttribute("process.pid", .number(UInt64(image.header.pid))),
            ResourceAttribute("process.executable.name", .text(name)),
            ResourceAttribute("os.type", .text("linux")),
        ]
        if !path.isEmpty { attributes.append(ResourceAttribute("process.executable.path", .text(path))) }
        if image.header.parent_pid > 0 {
            attributes.append(ResourceAttribute("process.parent_pid", .number(UInt64(image.header.parent_pid))))
        }
        if let buildID = image.modules().first(where: { pathText($0.path) == image.program })?.buildID, !buildID.isEmpty
        {
            attributes.append(ResourceAttribute("process.executable.build_id.gnu", .text(hexadecimal(buildID))))
        }
        // An image doesn't say on which host it was made. If it is of this boot, it was made here.
        if image.bootID.contains(where: { $0 != 0 }), image.bootID == Presence.currentBootID(), let host = hostName() {
            attributes.append(ResourceAttribute("host.name", .text(printable(host))))
        }
        return attributes
    }
}

private func hostName() -> String? {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return nil }
    let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return text.isEmpty ? nil : text
}
