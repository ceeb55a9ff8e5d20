// heapsum alone, for tests. What is installed is Sources/tools/all.

import HeapsumTool

runHeapsum()
