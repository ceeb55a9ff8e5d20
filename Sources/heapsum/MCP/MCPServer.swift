// The server's side of the Model Context Protocol: what is asked, and the answer to it. It knows nothing of streams.

import SystemPackage
import Text

struct MCPServer {
    /// The protocol's versions that are the same in all that this server does, the newest first.
    private static let versions = ["2025-06-18", "2024-11-05"]

    /// The answer to a line; nil if it is none of a request.
    func answer(_ line: [UInt8]) -> String? {
        let message: MCPMessage
        do throws(MCPMessage.Refused) {
            guard let read = try MCPMessage(line) else { return nil }
            message = read
        } catch { return MCPMessage.answer(error.id, error.error) }
        guard let id = message.id else { return nil }
        do throws(MCPError) { return MCPMessage.answer(id, try result(message)) } catch {
            return MCPMessage.answer(id, error)
        }
    }

    private func result(_ message: MCPMessage) throws(MCPError) -> String {
        switch message.method {
        case "initialize":
            let wanted = message.parameters["protocolVersion"]?.string ?? ""
            let spoken = Self.versions.contains(wanted) ? wanted : Self.versions[0]
            return "{\"protocolVersion\":\(jsonString(spoken)),\"capabilities\":{\"tools\":{}},"
                + "\"serverInfo\":{\"name\":\"heapsum\",\"version\":\(jsonString(version))},"
                + "\"instructions\":\(jsonString(Self.instructions))}"
        case "ping": return "{}"
        case "tools/list": return "{\"tools\":[\(MCPTool.all.map(\.json).joined(separator: ","))]}"
        case "tools/call": return try call(message.parameters)
        default: throw .method(String(message.method.prefix(100)))
        }
    }

    private static let instructions =
        "heapsum tells what memory a Linux program holds and which functions asked for it. Call summarise first: its "
        + "first finding is the most important. Sizes are bytes."

    private func call(_ parameters: JSONValue) throws(MCPError) -> String {
        guard let name = parameters["name"]?.string else { throw .parameters("a call has a name") }
        guard let tool = MCPTool.all.first(where: { $0.name == name }) else {
            throw .parameters("no tool \(name.prefix(100))")
        }
        let values = try tool.values(parameters["arguments"] ?? .object([:]))
        return run(tool.words(values))
    }

    /// Runs a command. What it can't do is the call's result, so that the agent reads why.
    private func run(_ words: [String]) -> String {
        do throws(Errno) {
            let run = try OwnCommand(words)
            let messages = String(decoding: run.messages.prefix(4000), as: UTF8.self)
            if run.isTooLong {
                return Self.content(
                    "the answer has more than \(OwnCommand.mostBytes) bytes: ask for fewer rows (top)", isError: true)
            }
            if run.isTooSlow {
                return Self.content("no answer within \(OwnCommand.mostSeconds) seconds", isError: true)
            }
            if run.output.isEmpty || run.exitStatus > 2 {
                return Self.content(
                    messages.isEmpty ? "the command ended with exit status \(run.exitStatus)" : messages, isError: true)
            }
            return Self.content(String(decoding: run.output, as: UTF8.self), messages: messages, isError: false)
        } catch {
            return Self.content("the command can't be started: \(error)", isError: true)
        }
    }

    /// A call's result: the answer, and what the command said beside it, if anything.
    private static func content(_ text: String, messages: String = "", isError: Bool) -> String {
        let texts = [text, messages].filter { !$0.isEmpty }.map { "{\"type\":\"text\",\"text\":\(jsonString($0))}" }
        return "{\"content\":[\(texts.joined(separator: ","))],\"isError\":\(isError)}"
    }
}
