// Sockets: how many are in each state, the protocols' memory and its limits, and the sockets in which bytes wait.
// Sockets belong to a network namespace. The watched processes' other namespaces are read, too, each once, through one
// of its processes.

import SystemPackage

/// The sockets in which bytes wait, by inode.
struct WaitingSockets {
    struct Queues { var receive: Int64, send: Int64, isOwned = false }
    var byInode: [Int64: Queues] = [:]
    /// Namespaces that have been read, by their links' text.
    var namespaces: Set<[UInt8]> = []

    mutating func take(_ inode: Int64) -> Queues? {
        guard let queues = byInode[inode] else { return nil }
        byInode[inode]?.isOwned = true
        return queues
    }

    func unowned(_ queue: (Queues) -> Int64) -> Int64 {
        byInode.values.reduce(0) { $1.isOwned ? $0 : $0.addingReportingOverflow(queue($1)).partialValue }
    }
}

extension Gatherer {
    private static let states = [
        "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
        "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
    ]

    func gatherSockets() -> WaitingSockets {
        for path in ["/proc/net/sockstat", "/proc/net/sockstat6"] {
            each(path) { line in
                // TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 185
                let words = words(line)
                guard let head = words.first?.dropLast() else { return }
                for index in stride(from: 1, to: words.count - 1, by: 2) {
                    set("sockstat.\(text(head)).\(text(words[index]))", number(words[index + 1]) ?? Sample.unknown)
                }
            }
        }
        for (path, name) in [("/proc/sys/net/ipv4/tcp_mem", "tcp_mem"), ("/proc/sys/net/ipv4/udp_mem", "udp_mem")] {
            each(path) { line in
                for (limit, word) in zip(["low", "pressure", "most"], words(line)) {
                    set("\(name).\(limit)", number(word) ?? Sample.unknown)
                }
            }
        }
        if let most = files.number("/proc/sys/net/ipv4/tcp_max_orphans") { set("tcp.mostOrphans", most) }
        for state in Self.states.dropFirst() { set("tcp.\(state)", 0) }
        var sockets = WaitingSockets()
        if let namespace = files.link("/proc/self/ns/net") { sockets.namespaces.insert(Array(namespace)) }
        readSockets("/proc/net", into: &sockets)
        return sockets
    }

    /// Reads the tables of one network namespace.
    func readSockets(_ place: String, into sockets: inout WaitingSockets) {
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let isTCP = table.hasPrefix("tcp")
            do {
                var counts = [Int64](repeating: 0, count: Self.states.count)
                try files.forEachLine("\(place)/\(table)") { line in
                    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
                    let words = words(line, most: 10)
                    guard words.count > 9, let state = hexadecimalNumber(words[3]), let inode = number(words[9]) else {
                        return
                    }
                    if isTCP, let index = Int(exactly: state), counts.indices.contains(index) { counts[index] += 1 }
                    let queues = words[4].split(separator: UInt8(ascii: ":"))
                    // A listening socket's receive queue counts connections, not bytes.
                    guard queues.count == 2, let send = hexadecimalNumber(queues[0]),
                        let receive = hexadecimalNumber(queues[1]),
                        send > 0 || receive > 0, !(isTCP && state == 10), inode > 0
                    else { return }
                    sockets.byInode[inode] = WaitingSockets.Queues(receive: receive, send: send)
                }
                if isTCP {
                    for (state, count) in counts.enumerated() where state > 0 && count > 0 {
                        add("tcp.\(Self.states[state])", count)
                    }
                }
            } catch { if place == "/proc/net" && !table.hasSuffix("6") { miss("/proc/net/\(table)", error) } }
        }
    }
}
