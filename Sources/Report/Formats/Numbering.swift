// Numbers for values in the order of their first use. Formats that refer to strings, functions, frames and stacks by
// number all use this.

/// The values that were numbered, and their numbers, from `first` on.
struct Numbering<Value: Hashable> {
    private let first: Int
    private var numbers: [Value: Int] = [:]
    /// The values in the order of their numbers.
    private(set) var values: [Value] = []

    /// - Parameter first: the first value's number.
    init(from first: Int = 0) { self.first = first }

    /// The number of a value, and whether this is its first use.
    ///
    /// - Complexity: O(1)
    mutating func use(_ value: Value) -> (number: Int, isNew: Bool) {
        if let number = numbers[value] { return (number, false) }
        let number = first + values.count
        numbers[value] = number
        values.append(value)
        return (number, true)
    }

    mutating func number(of value: Value) -> Int { use(value).number }
}
