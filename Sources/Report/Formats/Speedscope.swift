// speedscope's own file format: https://www.speedscope.app/file-format-schema.json. One list of functions, and one
// profile for each known quantity.
//
// A frame is a function and its file, without a line: speedscope draws frames that differ in anything separately, but a
// function that calls from two lines is one function.

import Reduce
import Text

extension MachineReport {
    func writeSpeedscope(to out: TextOutput) throws {
        struct Function: Hashable { var name: String, file: String? }
        var functions = Numbering<Function>()
        func number(_ frame: NamedFrame) -> Int {
            functions.number(of: Function(name: frame.functionText, file: frame.file))
        }
        // A row without frames becomes a sample with one frame that says so, because an empty sample would not be
        // visible.
        var nowhere = NamedFrame(frame: Frame(module: SpecialModule.named, offset: .max))
        nowhere.function = "(no frames)"
        let stacks = selection.rows.map { row in
            let entries = entries(row)
            return "["
                + (entries.isEmpty ? [nowhere] : entries).reversed().map { "\(number($0))" }.joined(separator: ",")
                + "]"
        }

        let known = known
        try requireKnown(quantity)
        let programs = Set(reduction.inputs.compactMap(\.program)).sorted().joined(separator: ", ")
        try out.write("{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n")
        try out.write(
            "\"exporter\":\(jsonString("heapsum \(version)")),\n"
                + "\"name\":\(jsonString(programs.isEmpty ? "heapsum" : programs)),\n"
        )
        try out.write("\"activeProfileIndex\":\(known.firstIndex(of: quantity) ?? 0),\n\"shared\":{\"frames\":[")
        for (index, function) in functions.values.enumerated() {
            let file = function.file.map { ",\"file\":\(jsonString($0))" } ?? ""
            try out.write((index == 0 ? "\n " : ",\n ") + "{\"name\":\(jsonString(function.name))\(file)}")
        }
        try out.write("]},\n\"profiles\":[")
        for (index, quantity) in known.enumerated() {
            let shown = selection.rows.indices.filter { quantity.value(selection.rows[$0]) > 0 }
            let sum = shown.reduce(UInt64(0)) { $0 &+ quantity.value(selection.rows[$1]) }
            try out.write(
                (index == 0 ? "\n " : ",\n ")
                    + "{\"type\":\"sampled\",\"name\":\(jsonString(title(of: quantity))),"
                    + "\"unit\":\"\(quantity.isBytes ? "bytes" : "none")\","
                    + "\"startValue\":0,\"endValue\":\(sum),\n  \"samples\":[")
            for (place, row) in shown.enumerated() { try out.write((place == 0 ? "" : ",") + stacks[row]) }
            try out.write("],\n  \"weights\":[")
            for (place, row) in shown.enumerated() {
                try out.write((place == 0 ? "" : ",") + "\(quantity.value(selection.rows[row]))")
            }
            try out.write("]}")
        }
        try out.write("]}\n")
    }
}
