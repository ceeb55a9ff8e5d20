// All tools in one executable, which is installed under their six names. So the Swift runtime and the argument parser,
// the largest part of each tool, are installed once. The name by which it is called selects the tool.

import GensymsTool
import Glibc
import HeapdumpTool
import HeaprunTool
import HeapsumTool
import HeaptopTool
import HeapwatchTool
import Proc
import SystemPackage
import Text

let tools: [String: () -> Never] = [
    "heapsum": runHeapsum, "heaprun": runHeaprun, "heapdump": runHeapdump, "gensyms": runGensyms,
    "heaptop": runHeaptop, "heapwatch": runHeapwatch,
]

func lastName(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? "" }

// First the name of the call, which may be a link's; else the file's name, because a caller may pass any name.
let called = CommandLine.unsafeArgv[0].map { lastName(pathText(cString: $0)) } ?? ""
guard let tool = tools[called] ?? FilePath("/proc/self/exe").real.flatMap({ tools[lastName($0.text)] }) else {
    say("\(called): not the name of a tool; the tools are \(tools.keys.sorted().joined(separator: ", "))")
    exit(64)
}
tool()
