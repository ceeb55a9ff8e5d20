// The reasons for which no verdict can be made, each with its way out. A verdict never hides what is missing: if a
// process can't be read, the error says so; if a part can't, a `Shortfall` does.

import SystemPackage

/// Why there is no verdict, as one line without the tool's name.
package struct LeaksError: Error, Equatable, CustomStringConvertible {
    package let message: String
    package var description: String { message }

    package init(_ message: String) { self.message = message }
}

/// A missing part of the program's state. A pointer may have been there, so the verdict calls nothing definitely lost.
package struct Shortfall: Equatable {
    package var what: String
}
