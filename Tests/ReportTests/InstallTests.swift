// What is installed beside the tools: manual pages, read by man and mandoc without a complaint, and completions, by the
// three shells themselves.

import TestSupport
import Testing

@Suite struct InstallTests {
    private let scratch: Scratch
    private static let commands = ["ask", "check", "diff", "info", "leaks", "mcp", "pack"]

    init() throws { scratch = try Scratch() }

    private func install(_ what: String) throws {
        try scratch.prepare(
            "cd / && SOURCE_DATE_EPOCH=1700000000 '\(Built.root)/scripts/install-\(what)' '\(Built.products)' "
                + "'\(scratch.path)'"
        )
    }

    @Test func manualPages() throws {
        try install("manuals")
        let pages = try scratch.shell("ls share/man/man1").output.split(separator: "\n").map(String.init)
        let wanted = ["heapsum", "heaprun", "heapdump", "gensyms"] + Self.commands.map { "heapsum-\($0)" }
        #expect(Set(pages).isSuperset(of: wanted.map { "\($0).1" }), "\(pages)")
        for page in pages {
            let lint = try scratch.shell(
                "mandoc -T lint share/man/man1/\(page); man --warnings -l share/man/man1/\(page) 2>&1 > /dev/null")
            #expect(lint.output == "" && lint.messages == "", "\(lint.output)\(lint.messages)")
        }
        // Each option that --help has is an entry, with its text; and the examples are as they were.
        for (tool, page) in [
            ("heapsum", "heapsum"), ("heapsum pack", "heapsum-pack"), ("heaprun", "heaprun"), ("gensyms", "gensyms"),
        ] {
            let text = try scratch.shell(
                "man -P cat -l share/man/man1/\(page).1 | col -bx",
                variables: ["MANWIDTH": "2000", "LC_ALL": "C.UTF-8"]
            ).output
            let help = try scratch.shell("'\(Built.products)'/\(tool) --help", variables: ["COLUMNS": "2000"]).output
            let lines = text.split(separator: "\n").map { $0.drop { $0 == " " } }
            var compared = 0
            for line in help.split(separator: "\n") {
                if let option = line.firstMatch(of: /^  ((?:-\w, )?--[\w-]+)(?: <([^>]+)>)?  +(.*)$/) {
                    let label = option.1 + (option.2.map { " \($0)" } ?? "")
                    let place = lines.firstIndex { $0 == label || $0.hasPrefix(label + " ") }
                    #expect(
                        place.map {
                            lines[$0 ..< min($0 + 2, lines.count)].joined(separator: " ").contains(option.3.prefix(60))
                        } ?? false, "\(page): \(label)")
                    compared += 1
                } else if line.hasPrefix("  \(tool) ") {
                    #expect(lines.contains { $0 == line.drop { $0 == " " } }, "\(page): \(line)")
                    compared += 1
                }
            }
            #expect(compared >= 6, "\(page)")
            #expect(text.contains("2023-11-14") && text.contains("SEE ALSO") && text.contains("EXIT STATUS"), "\(page)")
        }
        let variables = try scratch.shell("man -P cat -l share/man/man1/heaprun.1 | col -bx").output
        #expect(variables.contains("HEAPSUM_MAX_SIZE"))
    }

    @Test func bashCompletes() throws {
        try install("completions")
        try scratch.write("app.heap", "")
        try scratch.write(
            "complete.bash",
            """
            source share/bash-completion/completions/heapsum
            source share/bash-completion/completions/heapwatch
            complete_line() {
                COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMPREPLY=()
                COMP_POINT=${#COMP_LINE}
                $(complete -p $1 | sed 's/.*-F \\([^ ]*\\) .*/\\1/') $1 "${COMP_WORDS[COMP_CWORD]}" \
                "${COMP_WORDS[COMP_CWORD - 1]}"
                echo "${COMPREPLY[@]}"
            }
            complete_line heapsum --form
            complete_line heapsum --format spe
            complete_line heapsum app
            complete_line heapsum ''
            complete_line heapsum pack --with
            complete_line heapsum pack ap
            complete_line heapsum check --max-b
            complete_line heapsum app.heap --sor
            complete_line heapwatch --inter
            complete_line heapwatch verd
            complete_line heapwatch verdict --fail
            complete_line heapwatch export --format gra

            """)
        let lines = try scratch.shell("bash complete.bash 2>&1").output.split(separator: "\n").map(String.init)
        try #require(lines.count == 12, "\(lines)")
        #expect(lines[0] == "--format" && lines[1] == "speedscope" && lines[2] == "app.heap")
        #expect(
            Set(lines[3].split(separator: " ").map(String.init)).isSuperset(of: Self.commands + ["app.heap"]),
            "\(lines[3])")
        #expect(
            lines[4...].elementsEqual([
                "--with-symbols", "app.heap", "--max-bytes --max-blocks", "--sort", "--interval", "verdict",
                "--fail-on-growth", "graphite",
            ]), "\(lines)")
    }

    @Test func fishCompletes() throws {
        try install("completions")
        try scratch.write("app.heap", "")
        func completions(_ line: String) throws -> [Substring] {
            let outcome = try scratch.shell(
                "fish --no-config -c \"source share/fish/vendor_completions.d/heapsum.fish; source "
                    + "share/fish/vendor_completions.d/heapwatch.fish; complete -C '\(line)'\"",
                variables: ["HOME": scratch.path])
            #expect(outcome.messages == "", "\(outcome.messages)")
            return outcome.output.split(separator: "\n").compactMap { $0.split(separator: "\t").first }
        }
        #expect(try completions("heapsum --form") == ["--format"])
        #expect(try Set(completions("heapsum ")).isSuperset(of: Self.commands.map { $0[...] } + ["app.heap"]))
        #expect(try completions("heapsum pack --with") == ["--with-symbols"])
        #expect(try completions("heapsum check --max-b") == ["--max-blocks", "--max-bytes"])
        #expect(try completions("heapsum app.heap --sor") == ["--sort"])
        #expect(try completions("heapwatch verd") == ["verdict"])
        #expect(try completions("heapwatch verdict --fail") == ["--fail-on-growth"])
    }

    /// A zsh with a terminal, as somebody types into it.
    @Test func zshCompletes() throws {
        try install("completions")
        try scratch.write("app.heap", "")
        try scratch.write(
            "complete.zsh",
            """
            zmodload zsh/zpty
            zpty shell "PS1= TERM=dumb zsh -f -i"
            zpty -w shell 'unsetopt zle_bracketed_paste; fpath=($PWD/share/zsh/site-functions $fpath); \
            autoload -U compinit; compinit -u -D; echo re""ady'
            zpty -r shell out '*ready*'
            for line in "$@"; do
                zpty -w -n shell "$line"$'\\t'
                zpty -w shell ' 2>&-; echo do""ne'
                zpty -r shell out '*done*'
                print -r -- "$out"
            done

            """)
        // What was completed stands in the line that is run; the run's own output is of no matter.
        for (line, whole) in [
            ("heapsum pack --with-s", "heapsum pack --with-symbols"),
            ("heapsum check --max-by", "heapsum check --max-bytes"),
            ("heapsum app.heap --sor", "heapsum app.heap --sort"), ("heapsum inf", "heapsum info"),
            ("heapsum info ap", "heapsum info app.heap"),
            ("heapwatch verdict --fail", "heapwatch verdict --fail-on-growth"), ("heapwatch bun", "heapwatch bundle"),
        ] {
            let outcome = try scratch.shell(
                "timeout 60 zsh complete.zsh '\(line)'", variables: ["PATH": "/usr/bin:/bin"])
            #expect(
                outcome.exitStatus == 0 && outcome.output.contains(whole) && !outcome.output.contains("_arguments"),
                "\(outcome)")
        }
    }
}
