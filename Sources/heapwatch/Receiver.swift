// Sends samples over the network in a way that confirms their arrival. A Graphite receiver sends no answer: what is in
// its socket when it dies is lost without an error. So each batch has its own connection: this side ends it, and the
// receiver closes it after reading everything. OpenMetrics are posted, and the answer's status confirms them.

import Glibc
import Proc
import Text
import Watch

struct Receiver {
    /// As the user gave it.
    let name: String
    private let host: String
    private let port: UInt16
    /// The path to which OpenMetrics are posted.
    private let path: String?
    private let timeoutMilliseconds: Int32 = 10_000

    /// - Returns: nil if the text is not a host and port or, for OpenMetrics, a URL.
    init?(_ text: String, format: ExportFormat) {
        name = text
        var rest = text[...], path = "/metrics", defaultPort: UInt16?
        if format == .openmetrics {
            if rest.hasPrefix("http://") {
                rest = rest.dropFirst(7)
                defaultPort = 80
                if let slash = rest.firstIndex(of: "/") {
                    path = String(rest[slash...])
                    rest = rest[..<slash]
                }
            }
            guard path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        }
        var place = String(rest)
        if let colon = place.lastIndex(of: ":"), !place.hasSuffix("]"),
            let number = UInt16(place[place.index(after: colon)...]), number > 0
        {
            defaultPort = number
            place = String(place[..<colon])
        }
        if place.hasPrefix("[") && place.hasSuffix("]") {
            place = String(place.dropFirst().dropLast())
        } else if place.contains(":") {
            return nil
        }
        guard let defaultPort, !place.isEmpty,
            place.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") })
        else { return nil }
        (host, port) = (place, defaultPort)
        self.path = format == .openmetrics ? path : nil
    }

    /// Sends bytes and waits until the receiver has them.
    /// - Returns: nil if they were delivered; else the reason, and all of them must be sent again.
    func deliver(_ bytes: [UInt8]) -> String? {
        var failure = ""
        let descriptor = connected(&failure)
        guard descriptor >= 0 else { return failure }
        defer { close(descriptor) }
        guard let path else { return deliverPlain(bytes, descriptor) }
        let head =
            "POST \(path) HTTP/1.1\r\nHost: \(host):\(port)\r\nUser-Agent: heapwatch/\(version)\r\nContent-Type: "
            + "application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: "
            + "\(bytes.count)\r\nConnection: close\r\n\r\n"
        if let failure = send(Array(head.utf8) + bytes, descriptor) { return failure }
        return answer(descriptor)
    }

    private func deliverPlain(_ bytes: [UInt8], _ descriptor: CInt) -> String? {
        if let failure = send(bytes, descriptor) { return failure }
        guard shutdown(descriptor, Int32(SHUT_WR)) == 0 else { return text(errno) }
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            guard wait(descriptor, Int16(POLLIN)) else {
                // The receiver keeps its side open. If nothing is left in our kernel, its kernel has everything.
                var left: Int32 = 0
                return ioctl(descriptor, UInt(TIOCOUTQ), &left) == 0 && left == 0
                    ? nil : "no answer within \(timeoutMilliseconds / 1000) s"
            }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { return text(errno) }
            if count == 0 { return nil }
        }
    }

    private func answer(_ descriptor: CInt) -> String? {
        var bytes: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 4096)
        while !bytes.contains(0x0A), bytes.count < 1 << 16 {
            guard wait(descriptor, Int16(POLLIN)) else { return "no answer within \(timeoutMilliseconds / 1000) s" }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { return text(errno) }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        let line = String(decoding: bytes.prefix { $0 != 0x0D && $0 != 0x0A }.prefix(200), as: UTF8.self)
        let words = line.split(separator: " ", maxSplits: 2)
        guard words.count >= 2, words[0].hasPrefix("HTTP/"), let status = Int(words[1]) else {
            return line.isEmpty ? "closed without an answer" : "answers \(line), which is not HTTP"
        }
        return (200 ..< 300).contains(status) ? nil : "answers \(line)"
    }

    private func send(_ bytes: [UInt8], _ descriptor: CInt) -> String? {
        var done = 0
        while done < bytes.count {
            guard wait(descriptor, Int16(POLLOUT)) else { return "takes nothing for \(timeoutMilliseconds / 1000) s" }
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && (errno == EINTR || errno == EAGAIN) { continue }
            if count < 0 { return text(errno) }
            done += count
        }
        return nil
    }

    private func wait(_ descriptor: CInt, _ events: Int16) -> Bool {
        var poll = pollfd(fd: descriptor, events: events, revents: 0)
        while true {
            let count = Glibc.poll(&poll, 1, timeoutMilliseconds)
            if count < 0 && errno == EINTR { continue }
            return count > 0
        }
    }

    private func text(_ number: CInt) -> String { String(cString: strerror(number)) }

    /// A connection, or -1 and the reason.
    private func connected(_ failure: inout String) -> CInt {
        var hints = addrinfo(), found: UnsafeMutablePointer<addrinfo>?
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        let status = getaddrinfo(host, "\(port)", &hints, &found)
        guard status == 0 else {
            failure = String(cString: gai_strerror(status))
            return -1
        }
        defer { freeaddrinfo(found) }
        var next = found
        while let info = next {
            let descriptor = socket(
                info.pointee.ai_family,
                info.pointee.ai_socktype | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
                info.pointee.ai_protocol)
            if descriptor >= 0 {
                var number = connect(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 ? 0 : errno
                if number == EINPROGRESS {
                    number = ETIMEDOUT
                    var length = socklen_t(MemoryLayout<CInt>.size)
                    if wait(descriptor, Int16(POLLOUT)) {
                        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &length)
                    }
                }
                if number == 0 { return descriptor }
                failure = text(number)
                close(descriptor)
            }
            next = info.pointee.ai_next
        }
        return -1
    }
}
