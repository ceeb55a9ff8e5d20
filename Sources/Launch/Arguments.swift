// Where heaprun's own options end and the program begins. The program's arguments are never parsed,
// copied as text or reordered: they are handed on as the C strings that heaprun was given.

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
///   - captured: what the option parser left over: all from the first word that is no option of heaprun's, `--`
///     included.
///   - count: argc, so that the words' own bytes needn't survive the parser.
package func programArguments(captured: [String], count: Int) -> ProgramArguments {
    guard let first = captured.first else { return .missing }
    let start = count - captured.count
    if first == "--" { return captured.count > 1 ? .program(index: start + 1) : .missing }
    // A lone dash is a name, if an odd one.
    if first.hasPrefix("-") && first != "-" { return .unknownOption(first) }
    return .program(index: start)
}
