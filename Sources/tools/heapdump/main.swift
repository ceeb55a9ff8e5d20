// heapdump alone, for tests. What is installed is Sources/tools/all.

import HeapdumpTool

runHeapdump()
