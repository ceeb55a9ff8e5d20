// heapsum: reduces images to unique stacks. This file only picks the command; a first word that is
// none of the commands' names is a file. (A file called "info" is ./info.)

import ArgumentParser

let words = Array(CommandLine.arguments.dropFirst())
switch words.first {
case "info": InfoCommand.main(Array(words.dropFirst()))
case "pack": PackCommand.main(Array(words.dropFirst()))
case "help": words.count > 1 && words[1] == "info" ? InfoCommand.main(["--help"])
    : words.count > 1 && words[1] == "pack" ? PackCommand.main(["--help"]) : ReduceCommand.main(["--help"])
default: ReduceCommand.main(words)
}
