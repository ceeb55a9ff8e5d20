// What a page's rows held at several moments: the values of the first, and of each later one the rows that changed.

import Page
import Text

/// The moments of a page, each with one value for each row.
struct PageMoments {
    struct Moment {
        var label: String
        /// Since the first moment, or the recording's start; nil: not known.
        var seconds: Double?
        /// One for each row.
        var bytes: [UInt64]
        var blocks: [UInt64]
    }

    var moments: [Moment] = []

    func write(to data: inout PageData) {
        data.array("moments") { data in
            for moment in moments {
                data.object { data in
                    data.string("label", printable(moment.label))
                    data.number("seconds", moment.seconds)
                    data.integer("bytes", moment.bytes.reduce(0, &+))
                    data.integer("blocks", moment.blocks.reduce(0, &+))
                }
            }
        }
        data.array("changes") { data in
            for (number, moment) in moments.enumerated() {
                let before = number == 0 ? nil : moments[number - 1]
                let changed = moment.bytes.indices.filter { row in
                    moment.bytes[row] != before?.bytes[row] ?? 0 || moment.blocks[row] != before?.blocks[row] ?? 0
                }
                data.object { data in
                    data.column("row", of: changed)
                    data.column("bytes", changed.map { moment.bytes[$0] })
                    data.column("blocks", changed.map { moment.blocks[$0] })
                }
            }
        }
    }
}
