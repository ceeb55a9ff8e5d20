// What keeps a verdict from being made, each with its reason and the way out. Nothing half done hides behind a whole
// verdict: what can't be read at all is one of these, and what is missing in part is a `Shortfall`.

import SystemPackage

/// Why there is no verdict. One line's worth of text, without the tool's name.
package struct LeaksError: Error, Equatable, CustomStringConvertible {
    package let message: String
    package var description: String { message }

    package init(_ message: String) { self.message = message }
}

/// A part of the program's state that a verdict lacks: a pointer may have been there, so nothing is called definitely
/// lost.
package struct Shortfall: Equatable {
    package var what: String
}
