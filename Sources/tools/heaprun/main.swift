// heaprun alone, for tests. What is installed is Sources/tools/all.

import HeaprunTool

runHeaprun()
