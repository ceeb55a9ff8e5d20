// heaptop alone, for tests. What is installed is Sources/tools/all.

import HeaptopTool

runHeaptop()
