// The interface to a process that goes along with a recording: heaprun starts it before the program, tells it where the
// images are, and at the end which images there are. What it does needs more than a launcher has (Report, Send), so it
// comes from outside.
//
// Invariant: the program never waits for it, and heaprun waits for it only when the program has ended, for a bounded
// time.

import SystemPackage

package struct Companion {
    /// Called before the program starts, with the directory of the running images.
    package var start: (FilePath) throws(LaunchError) -> Void
    /// Called when all images are in their places, with those of the programs that have ended.
    package var finish: ([FilePath]) -> Void
    /// Lines for the report.
    package var report: () -> [String]

    package init(
        start: @escaping (FilePath) throws(LaunchError) -> Void, finish: @escaping ([FilePath]) -> Void,
        report: @escaping () -> [String]
    ) {
        (self.start, self.finish, self.report) = (start, finish, report)
    }
}
