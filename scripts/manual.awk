# Makes a manual page of what a tool prints for --help. It knows the parts: OVERVIEW, with headings in capitals and
# indented lines (commands and what they print) in it; USAGE; lists of arguments and options under titles.
# Variables: page, title (the tool and its command), pages (all of them), date, version, more (a file to include).

function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}

# Text to be filled, in lines of some 76 bytes: none may begin like a request.
function filled(text,   words, count, i, line, result) {
    count = split(text, words, / +/)
    line = ""
    for (i = 1; i <= count; i++) {
        if (line != "" && length(line) + length(words[i]) > 70) {
            result = result escaped(line) "\n"
            line = ""
        }
        line = line (line == "" ? "" : " ") words[i]
    }
    return result escaped(line)
}

# A label: options bold, what they take in italics.
function label(text,   parts, count, i, result) {
    count = split(text, parts, /[ ]+/)
    for (i = 1; i <= count; i++) {
        word = parts[i]
        comma = sub(/,$/, "", word) ? "," : ""
        if (word ~ /^<.*>/) {
            gsub(/[<>]/, "", word)
            word = "\\fI" escaped(word) "\\fR"
        } else {
            word = "\\fB" escaped(word) "\\fR"
        }
        result = result (i > 1 ? " " : "") word comma
    }
    return result
}

function add(section, text) {
    if (!(section in body)) order[++sections] = section
    body[section] = body[section] text "\n"
}

function end_example() {
    if (example) add(section, ".EE\n.RE")
    example = 0
}

BEGIN { section = "" }

/^OVERVIEW: / {
    abstract = substr($0, 11)
    part = "overview"
    section = "DESCRIPTION"
    next
}
/^USAGE: / {
    end_example()
    part = "usage"
    sub(/^USAGE: /, "")
    add("SYNOPSIS", ".EX\n" escaped($0))
    next
}
/^[A-Z][A-Z ]*:$/ && part != "overview" {
    if (part == "usage") add("SYNOPSIS", ".EE")
    part = "list"
    name = substr($0, 1, length($0) - 1)
    if (name == "ARGUMENTS") {
        section = name
    } else if (name == "SUBCOMMANDS") {
        section = "COMMANDS"
    } else {
        section = "OPTIONS"
        if (name != "OPTIONS" || "OPTIONS" in body) add("OPTIONS", ".SS " (name == "OPTIONS" ? "Others" : substr(name, 1, 1) tolower(substr(name, 2))))
    }
    next
}

part == "overview" {
    # The abstract may go on.
    if (abstract != "" && !started && $0 != "") { abstract = abstract " " $0; next }
    started = 1
    if ($0 ~ /^[A-Z][A-Z ]+$/ || $0 == "Examples:") {
        end_example()
        section = $0 == "Examples:" ? "EXAMPLES" : $0
        next
    }
    if ($0 ~ /^ /) {
        if (!example) add(section, (section in body ? ".PP\n" : "") ".RS 2\n.EX")
        example = 1
        sub(/^  /, "")
        add(section, escaped($0))
        next
    }
    if ($0 == "") { blank = 1; if (!example) paragraph = 1; next }
    end_example()
    if (section == "EXAMPLES") section = "DESCRIPTION"
    if ($0 ~ /^Exit status: /) {
        sub(/^Exit status: /, "")
        add("EXIT STATUS", filled(toupper(substr($0, 1, 1)) substr($0, 2)))
        next
    }
    if (section in body) add(section, ".PP")
    add(section, filled($0))
    next
}

part == "usage" && $0 != "" {
    sub(/^       /, "")
    add("SYNOPSIS", escaped($0))
    next
}

part == "list" && /^  [^ ]/ {
    line = substr($0, 3)
    text = ""
    # Two blanks part the label from the text, which begins in column 27.
    if (match(line, /  +/)) {
        text = substr(line, RSTART + RLENGTH)
        line = substr(line, 1, RSTART - 1)
    } else if (length(line) > 24 && substr(line, 24, 1) == " ") {
        text = substr(line, 25)
        line = substr(line, 1, 23)
    }
    add(section, ".TP\n" label(line))
    if (text != "") add(section, filled(text))
    next
}
part == "list" && /^ +[^ ]/ {
    sub(/^ +/, "")
    add(section, filled($0))
    next
}

END {
    if (part == "usage") add("SYNOPSIS", ".EE")
    printf ".\\\" Made of %s --help by scripts/install-manuals.\n", title
    printf ".TH %s 1 %s \"%s\" \"User Commands\"\n", toupper(page), date, escaped(version)
    abstract = tolower(substr(abstract, 1, 1)) substr(abstract, 2)
    sub(/\.$/, "", abstract)
    printf ".SH NAME\n%s \\-\n%s\n", escaped(page), filled(abstract)
    count = split("SYNOPSIS DESCRIPTION ARGUMENTS COMMANDS OPTIONS", first, " ")
    for (i = 1; i <= count; i++) if (first[i] in body) {
        printf ".SH %s\n%s", first[i], body[first[i]]
        done[first[i]] = 1
    }
    while (more != "" && (getline line < more) > 0) print line
    for (i = 1; i <= sections; i++) if (!(order[i] in done) && order[i] != "EXIT STATUS") printf ".SH %s\n%s", order[i], body[order[i]]
    if ("EXIT STATUS" in body) printf ".SH EXIT STATUS\n%s", body["EXIT STATUS"]
    count = split(pages, all, " ")
    printf ".SH SEE ALSO\n"
    separator = ""
    for (i = 1; i <= count; i++) if (all[i] != page) {
        printf "%s.BR %s (1)", separator, escaped(all[i])
        separator = ",\n"
    }
    print ""
}
