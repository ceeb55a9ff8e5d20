// JSON-RPC 2.0 as the Model Context Protocol uses it over stdio: a message is a line of JSON. A request has an id, and
// gets an answer with the same id; a notification has none, and gets none.
//
// Invariant: any line gives a message or an error with the code that JSON-RPC has for it.

import Text

/// Why a request can't be answered, with JSON-RPC's number.
struct MCPError: Error {
    var code: Int
    var message: String

    static func parse(_ why: String) -> MCPError { MCPError(code: -32700, message: "not JSON: \(why)") }
    static func invalid(_ why: String) -> MCPError { MCPError(code: -32600, message: why) }
    static func method(_ name: String) -> MCPError { MCPError(code: -32601, message: "no method \(name)") }
    static func parameters(_ why: String) -> MCPError { MCPError(code: -32602, message: why) }
}

/// A request or a notification.
struct MCPMessage {
    /// As JSON; nil for a notification.
    var id: String?
    var method: String
    var parameters: JSONValue

    /// Reads a line.
    ///
    /// - Returns: nil for an answer to a request; this server makes none.
    /// - Throws: the error, with the id if the line tells one.
    init?(_ line: [UInt8]) throws(Refused) {
        let value: JSONValue
        do throws(JSONError) { value = try JSONReader.read(line) } catch {
            throw Refused(id: "null", error: .parse("\(error)"))
        }
        guard case .object(let members) = value else {
            throw Refused(id: "null", error: .invalid("a message is an object"))
        }
        let id = members["id"].map(Self.text) ?? nil
        if members["id"] != nil && id == nil {
            throw Refused(id: "null", error: .invalid("an id is a text or a whole number"))
        }
        if members["method"] == nil && (members["result"] != nil || members["error"] != nil) { return nil }
        guard value["jsonrpc"]?.string == "2.0", let method = value["method"]?.string else {
            throw Refused(id: id ?? "null", error: .invalid("a message has \"jsonrpc\": \"2.0\" and a method"))
        }
        (self.id, self.method, parameters) = (id, method, value["params"] ?? .object([:]))
    }

    /// A line that is no message.
    struct Refused: Error {
        var id: String
        var error: MCPError
    }

    /// An id as JSON; nil for what can't be one.
    private static func text(_ id: JSONValue) -> String? {
        switch id {
        case .string(let text): text.utf8.count <= 1000 ? jsonString(text) : nil
        case .integer(let number): "\(number)"
        case .number(let number): number.rounded() == number && abs(number) < 1e15 ? "\(Int64(number))" : nil
        default: nil
        }
    }

    // MARK: Answers

    static func answer(_ id: String, _ result: String) -> String {
        "{\"jsonrpc\":\"2.0\",\"id\":\(id),\"result\":\(result)}\n"
    }

    static func answer(_ id: String, _ error: MCPError) -> String {
        "{\"jsonrpc\":\"2.0\",\"id\":\(id),\"error\":{\"code\":\(error.code),"
            + "\"message\":\(jsonString(String(error.message.prefix(500))))}}\n"
    }
}
