// All tools in one executable, which is installed under their six names: the Swift runtime and the argument parser are
// most of each, and are there once so. The name that it is called by says which tool it is.

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

// As a link is called, whatever it leads to; else as the file is: whoever starts a program says what they like of its
// name.
let called = CommandLine.unsafeArgv[0].map { lastName(pathText(cString: $0)) } ?? ""
guard let tool = tools[called] ?? FilePath("/proc/self/exe").real.flatMap({ tools[lastName($0.text)] }) else {
    say("\(called): none of the tools is called so; they are \(tools.keys.sorted().joined(separator: ", "))")
    exit(64)
}
tool()
