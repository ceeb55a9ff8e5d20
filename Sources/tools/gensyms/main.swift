// gensyms alone, for tests. What is installed is Sources/tools/all.

import GensymsTool

runGensyms()
