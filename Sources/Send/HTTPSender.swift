// Sends bodies to one address by HTTP, through libcurl: one connection for all, as long as the other side keeps it.
//
// Invariant: each call returns within the time limit, whatever the other side does, and takes a bounded answer.

import CHTTP
import Text

/// Something can't be sent.
package struct SendError: Error, Equatable, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
}

/// An address as it is shown: without a user's name and password.
package func withoutCredentials(_ url: String) -> String {
    guard let scheme = url.firstRange(of: "://") else { return url }
    let host = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    guard let at = host.lastIndex(of: "@") else { return url }
    return String(url[..<scheme.upperBound] + url[url.index(after: at)...])
}

/// An HTTP connection to one URL. It belongs to one thread.
package final class HTTPSender {
    package let url: String
    /// The time limit of each body, from the connection to the answer's end.
    package var seconds: Double
    private var shown: String { withoutCredentials(url) }
    private var curl = http_functions()
    private let handle: UnsafeMutableRawPointer
    private let headers: [String]

    /// At most this much of an answer is read.
    private static let answerRoom = 1 << 16

    /// Loads libcurl. Nothing is sent yet.
    ///
    /// - Parameters:
    ///   - headers: lines such as "Content-Type: application/x-protobuf".
    ///   - seconds: the time limit of each body, from the connection to the answer's end.
    /// - Throws: `SendError` if the URL isn't one of HTTP, or libcurl isn't installed.
    package init(url: String, headers: [String], seconds: Double) throws(SendError) {
        guard let scheme = ["http://", "https://"].first(where: { url.lowercased().hasPrefix($0) }),
            url.utf8.count > scheme.utf8.count, !url.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F })
        else {
            throw SendError("\(withoutCredentials(url)): not the address of a collector, such as http://localhost:4318")
        }
        if let problem = http_load(&curl) {
            throw SendError("libcurl can't be loaded (Debian: libcurl4): \(String(cString: problem))")
        }
        guard let handle = http_begin(&curl) else { throw SendError("libcurl can't be started") }
        // libcurl would wait for the other side's word before it sends a body of more than 1 MB.
        (self.url, self.seconds, self.handle, self.headers) = (url, seconds, handle, headers + ["Expect:"])
    }

    deinit { curl.easy_cleanup(handle) }

    /// Posts a body.
    ///
    /// - Parameter header: a line about this body, such as "Content-Encoding: gzip".
    /// - Returns: the answer's body, or its first 64 KB.
    /// - Throws: `SendError` if there is no answer in time, or one with a status other than 2xx.
    package func post(_ body: [UInt8], header: String? = nil) throws(SendError) -> [UInt8] {
        var list: OpaquePointer?
        for line in headers + (header.map { [$0] } ?? []) {
            guard let longer = curl.list_append(list, line) else {
                curl.list_free(list)
                throw SendError("no memory for a request")
            }
            list = longer
        }
        defer { curl.list_free(list) }
        var bytes = [CChar](repeating: 0, count: Self.answerRoom)
        var answer = http_answer()
        let code = bytes.withUnsafeMutableBufferPointer { room in
            answer.bytes = room.baseAddress
            answer.room = room.count
            return body.withUnsafeBufferPointer {
                http_post(
                    &curl, handle, url, list, "heapsum/\(version)", $0.baseAddress, $0.count,
                    Int(max(1, seconds * 1000)), &answer)
            }
        }
        answer.bytes = nil
        let said = bytes.prefix(answer.count).map { UInt8(bitPattern: $0) }
        if code != 0 {
            let reason = withUnsafeBytes(of: answer.error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            throw SendError("\(shown): \(printable(reason))")
        }
        guard (200 ..< 300).contains(answer.status) else {
            let line = said.prefix { $0 != 0x0A }.prefix(200)
            let text = printable(String(decoding: line, as: UTF8.self))
            throw SendError("\(shown): HTTP status \(answer.status)\(text.isEmpty ? "" : ": \(text)")")
        }
        return said
    }
}
