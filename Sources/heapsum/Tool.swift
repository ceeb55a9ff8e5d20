// heapsum: reduces images to unique stacks. A first word that is none of the commands' names is a file. (A file called
// "info" is ./info.)

import Commands

/// heapsum as a whole; it ends the process.
package func runHeapsum() -> Never {
    runTool(
        ReduceCommand.self,
        commands: [
            "ask": AskCommand.self, "check": CheckCommand.self, "diff": DiffCommand.self, "info": InfoCommand.self,
            "leaks": LeaksCommand.self, "mcp": MCPCommand.self, "pack": PackCommand.self, "pages": PagesCommand.self,
            "push": PushCommand.self, "table": TableCommand.self,
        ])
}
