// The tools of heapsum mcp. Each is a command of heapsum, nearly all with JSON as their output, so an agent
// gets what a user gets.

import Glibc
import Text

/// A tool: its name, what it is for, its parameters, and the command's words.
struct MCPTool: Sendable {
    struct Parameter: Sendable {
        var name: String
        var description: String
        var isNumber = false
        var isRequired = true
    }

    var name: String
    var description: String
    var parameters: [Parameter]
    /// The words of the command after "heapsum", for the values of the parameters.
    var words: @Sendable ([String: String]) -> [String]

    private static let target = Parameter(
        name: "target", description: "An image, a directory of images, or the PID of a recorded process.")
    private static let program = Parameter(
        name: "target", description: "The PID of a recorded process, or an image with a verdict in it.")
    private static let top = Parameter(
        name: "top", description: "At most so many rows, 1 to 100; 10 if it is left out.", isNumber: true,
        isRequired: false)

    private static func limits(_ values: [String: String]) -> [String] {
        ["--top", values["top"] ?? "10", "--frames", "8"]
    }

    static let all = [
        MCPTool(
            name: "list",
            description: "Lists the recorded processes of this machine, and the images in a directory if one is named.",
            parameters: [
                Parameter(name: "directory", description: "A directory with images.", isRequired: false)
            ]
        ) { ["mcp", "--list"] + ($0["directory"].map { ["--", $0] } ?? []) },
        MCPTool(
            name: "summarise",
            description:
                "Says what stands out in a heap: lost, growing, pinned, not malloc's; each with the function, evidence "
                + "and the next command. Ask this first. A running program is stopped for some milliseconds.",
            parameters: [target]
        ) { ["ask", "--", $0["target"] ?? ""] },
        MCPTool(
            name: "diff",
            description:
                "Says which stacks grew between two moments, the largest growth first. Without \"new\": between the "
                + "dumps of one process in a directory, or the snapshots that one image keeps.",
            parameters: [
                Parameter(name: "old", description: "An image or a dump, or a directory of one process's."),
                Parameter(name: "new", description: "A later image or dump.", isRequired: false), top,
            ]
        ) { values in
            ["diff", "--format", "json"] + limits(values) + ["--", values["old"] ?? ""]
                + (values["new"].map { [$0] } ?? [])
        },
        MCPTool(
            name: "leaks",
            description:
                "Lists the blocks that nothing leads to any more, by stack. A running program is stopped for some "
                + "milliseconds.",
            parameters: [program, top]
        ) { ["leaks", "--format", "json"] + limits($0) + ["--", $0["target"] ?? ""] },
        MCPTool(
            name: "holders",
            description:
                "Says who keeps the blocks that can be reached: a tree from the program's variables and stacks, with "
                + "what would be freed if each went. A running program is stopped for some milliseconds.",
            parameters: [program]
        ) { ["leaks", "--holders", "--format", "json", "--top", "1", "--frames", "4", "--", $0["target"] ?? ""] },
        MCPTool(
            name: "tree",
            description: "Shows the calls that led to the live blocks, as an indented tree with bytes; text.",
            parameters: [
                target,
                Parameter(
                    name: "top", description: "At most so many calls, 1 to 100; 40 if it is left out.", isNumber: true,
                    isRequired: false),
            ]
        ) { ["--tree", "--no-lines", "--color", "never", "--top", $0["top"] ?? "40", "--", $0["target"] ?? ""] },
    ]

    /// As tools/list describes it.
    var json: String {
        let properties = parameters.map { parameter in
            "\(jsonString(parameter.name)):{\"type\":\"\(parameter.isNumber ? "integer" : "string")\","
                + "\"description\":\(jsonString(parameter.description))}"
        }
        let required = parameters.filter(\.isRequired).map { jsonString($0.name) }
        return "{\"name\":\(jsonString(name)),\"description\":\(jsonString(description)),"
            + "\"inputSchema\":{\"type\":\"object\",\"properties\":{\(properties.joined(separator: ","))},"
            + "\"required\":[\(required.joined(separator: ","))],\"additionalProperties\":false}}"
    }

    /// The values of a call's arguments, checked.
    func values(_ arguments: JSONValue) throws(MCPError) -> [String: String] {
        guard case .object(let members) = arguments else { throw .parameters("arguments is an object") }
        var values: [String: String] = [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }) where !value.isNull {
            guard let parameter = parameters.first(where: { $0.name == name }) else {
                throw .parameters("\(self.name) has no argument \(name)")
            }
            if parameter.isNumber {
                guard let number = value.integer, (1 ... 100).contains(number) else {
                    throw .parameters("\(name) is a whole number from 1 to 100")
                }
                values[name] = "\(number)"
            } else if let text = value.string, !text.isEmpty, text != "-", text.utf8.count <= 4096,
                !text.utf8.contains(0)
            {
                // Reading a pipe or a device may never end.
                var status = stat()
                if text.withPath({ stat($0, &status) }) == 0, ![S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT) {
                    throw .parameters("\(name): \(text.prefix(200)) is no file and no directory")
                }
                values[name] = text
            } else if let number = value.integer {
                values[name] = "\(number)"
            } else {
                throw .parameters("\(name) is a text that names a file, a directory or a process")
            }
        }
        for parameter in parameters where parameter.isRequired && values[parameter.name] == nil {
            throw .parameters("\(name) needs \(parameter.name)")
        }
        return values
    }
}
