// What the commands share: messages, and values of options.

import ArgumentParser
import Glibc
import HeapImage
import Logs
import Reduce
import Report
import Text

/// Prints a message on stderr, with the tool's name.
func say(_ text: String) { Text.say("heapsum: " + text) }

/// The same for a line that a report has already escaped.
func sayShown(_ text: String) { Text.sayShown("heapsum: " + text) }

/// Prints that a log can't be used, and the first lines that failed.
func say(_ error: LogError) {
    say("\(error)")
    for line in error.details { Text.say(line) }
}

/// Exit statuses; 64 is the argument parser's own.
extension ExitCode {
    static let badInput = ExitCode(2)
    static let limitPassed = ExitCode(1)
}

extension SortKey: ExpressibleByArgument {}
extension Grouping: ExpressibleByArgument {}
extension Moment: ExpressibleByArgument {}
extension ColorChoice: ExpressibleByArgument {}

/// What --histograms takes.
enum Histograms: String, CaseIterable, ExpressibleByArgument {
    case total, rows
}

/// The values of --format: the table for people, and the formats of other programs by their names.
enum Format: Equatable, ExpressibleByArgument {
    case table
    case machine(MachineFormat)

    init?(argument: String) {
        if argument == "table" {
            self = .table
        } else if let format = MachineFormat(rawValue: argument) {
            self = .machine(format)
        } else {
            return nil
        }
    }

    var machine: MachineFormat? { if case .machine(let format) = self { format } else { nil } }
    var defaultValueDescription: String { "table" }
    static var allValueStrings: [String] { ["table"] + MachineFormat.allCases.map(\.rawValue) }
    static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}

// SendableMetatype, which the parser's protocol implies, is named because Swift 6.2 with assertions ends otherwise.
extension SetChoice: ExpressibleByArgument, SendableMetatype {
    public init?(argument: String) {
        switch argument {
        case "last": self = .last
        case "all": self = .all
        default:
            guard let number = Int(argument), number > 0 else { return nil }
            self = .number(number)
        }
    }

    public var defaultValueDescription: String { "last" }
}
