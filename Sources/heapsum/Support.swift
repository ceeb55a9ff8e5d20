// What the commands share: messages, and the words of the options.

import ArgumentParser
import Glibc
import HeapImage
import Logs
import Reduce
import Report
import Text

/// Says something on stderr in the tool's name.
func say(_ text: String) { Text.say("heapsum: " + text) }

/// The same of a line that a report made fit to be shown.
func sayShown(_ text: String) { Text.sayShown("heapsum: " + text) }

/// A log that can't be used, with the first lines that failed below it.
func say(_ error: LogError) {
    say("\(error)")
    for line in error.details { Text.say(line) }
}

/// Exit statuses, as the contract has them; 64 is the argument parser's own.
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

/// What --format takes: what people read, and the formats of other programs by their own names.
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

extension SetChoice: ExpressibleByArgument {
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
