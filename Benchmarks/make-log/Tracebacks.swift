// The stacks of a benchmark's log, as text: a tree with few frames, as one program has it, or frames that are all
// distinct, as many programs, modules and builds together have them.

/// How stacks are spread over frames.
struct StackShape {
    var stacks: Int
    var depth: Int
    /// Distinct frames of all stacks together; 0 for a tree whose outer frames are shared.
    var frames: Int
    /// Of a hundred frames so many have a name.
    var namedPercent: Int

    /// The frames of one stack, innermost first: address and name, which is empty where the log has none.
    func frames(of index: Int) -> [(address: Int, name: String)] {
        if frames > 0 {
            return (0 ..< depth).map { level in
                // Each stack has frames of its own as far as there are enough.
                let number = (index * depth + level) % frames
                let isNamed = number * 37 % 100 < namedPercent
                return (0x1000_0000 + number * 0x24, isNamed ? "function_\(number % 7)_of_unit_\(number)" : "")
            }
        }
        var rest = index
        return (0 ..< depth).map { level in
            let way = level == 0 ? 0 : level == 1 ? index : rest % 4
            if level > 1 { rest /= 4 }
            return (0x1000_0000 + level * 0x10_0000 + way * 0x24, level == 0 ? "malloc" : "function_\(level)_\(way)")
        }
    }
}
