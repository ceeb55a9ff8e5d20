// Finds where heaprun's own options end and the program begins. The program's arguments are never parsed, copied as
// text or reordered: they are passed on as the C strings that heaprun got.

/// What follows heaprun's options.
package enum ProgramArguments: Equatable {
    /// Index in argv of the program's name.
    case program(index: Int)
    case missing
    /// An option that heaprun doesn't know.
    case unknownOption(String)
}

/// Finds the program in argv.
///
/// - Parameters:
///   - captured: what the option parser left over: everything from the first word that is not an option of heaprun,
///     including `--`.
///   - count: argc. So the words themselves need not survive the parser unchanged.
package func programArguments(captured: [String], count: Int) -> ProgramArguments {
    guard let first = captured.first else { return .missing }
    let start = count - captured.count
    if first == "--" { return captured.count > 1 ? .program(index: start + 1) : .missing }
    // A single dash is a name, though an odd one.
    if first.hasPrefix("-") && first != "-" { return .unknownOption(first) }
    return .program(index: start)
}
