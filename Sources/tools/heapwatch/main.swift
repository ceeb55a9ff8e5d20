// heapwatch alone, for tests. What is installed is Sources/tools/all.

import HeapwatchTool

runHeapwatch()
