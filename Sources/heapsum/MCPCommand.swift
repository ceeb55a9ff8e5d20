// heapsum mcp: a server of the Model Context Protocol on standard input and output.

import ArgumentParser
import Glibc
import Text

struct MCPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum mcp",
        abstract: "Serves heapsum to agents: the Model Context Protocol on standard input and output.",
        discussion: """
            An agent's program starts this command, and speaks JSON-RPC with it, a message a line. Nothing listens on \
            a network, and nothing is changed or started but heapsum's own commands, as the user who runs it.

            TOOLS
              list        the recorded processes, and the images in a directory
              summarise   what stands out: heapsum ask
              diff        what grew between two moments
              leaks       what is lost, by stack
              holders     who keeps the rest
              tree        the calls that led to the live blocks

            EXAMPLES
              { "mcpServers": { "heapsum": { "command": "heapsum", "args": ["mcp"] } } }     in an agent's settings
              echo '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' | heapsum mcp
              heapsum mcp --list out/                              the recorded processes, and the images in out/

            Exit status: 0 at the end of standard input, 2 standard output can't be written or a directory has no \
            image, 64 wrong arguments.
            """)

    /// A longer line is refused unread.
    private static let mostLineBytes = 1 << 20

    @Flag(help: "Print what the tool list answers, and end.")
    var list = false

    @Argument(help: "With --list: a directory whose images are listed, too.", completion: .directory)
    var directory: String?

    func validate() throws {
        if directory != nil && !list { throw ValidationError("only --list takes a directory") }
    }

    func run() throws {
        try writing {
            let out = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
            if list {
                do { try out.write(RecordedList(directory).text) } catch let nothing as RecordedList.Nothing {
                    say("\(nothing)")
                    throw ExitCode.badInput
                }
                return try out.finish()
            }
            let server = MCPServer()
            var line: [UInt8] = [], isTooLong = false, buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = buffer.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
                if count < 0 && errno == EINTR { continue }
                // The last line may have no end.
                if count <= 0 && line.isEmpty && !isTooLong { break }
                for byte in count > 0 ? buffer[..<count] : [UInt8(ascii: "\n")] {
                    if byte != UInt8(ascii: "\n") {
                        if line.count < Self.mostLineBytes { line.append(byte) } else { isTooLong = true }
                        continue
                    }
                    let answer =
                        isTooLong
                        ? MCPMessage.answer("null", .invalid("a line has more than \(Self.mostLineBytes) bytes"))
                        : line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) ? nil : server.answer(line)
                    (line, isTooLong) = ([], false)
                    guard let answer else { continue }
                    try out.write(answer)
                    try out.finish()
                }
            }
        }
    }
}
