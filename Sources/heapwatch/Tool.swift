// heapwatch: which process grows, or is it the kernel? Without a command it gathers.

import Commands

/// heapwatch as a whole; it ends the process.
package func runHeapwatch() -> Never {
    runTool(
        GatherCommand.self,
        commands: [
            "run": RunCommand.self, "verdict": VerdictCommand.self, "report": ReportCommand.self,
            "export": ExportCommand.self,
            "bundle": BundleCommand.self, "import": ImportCommand.self,
        ])
}
