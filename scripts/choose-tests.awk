# Which tests run on AArch64: prints for each line of the list in scripts/aarch64.d/tests its words, with the number of
# tests that it decides on behind the name. Fails if a test has no line, or a line no test.
# usage: awk -f choose-tests.awk LIST TESTS
FNR == NR {
    if ($0 ~ /^#/) next
    if (!(($1 == "run" || $1 == "untried") && NF == 2 || $1 == "not" && NF > 2)) fails("not a line of the list: " $0)
    if ($1 == "not") prefixes[++prefix_count] = $2
    else if ($2 in counts) fails("listed twice: " $2)
    lines[++line_count] = $0
    counts[$2] = 0
    next
}
{
    decides = $0
    sub("/.*", "", decides)
    # What is left out goes before its suite.
    for (i = 1; i <= prefix_count; i++) if (index($0, prefixes[i]) == 1) { decides = prefixes[i]; break }
    if (decides in counts) counts[decides]++
    else fails("the list says nothing of " $0)
}
END {
    for (i = 1; i <= line_count; i++) {
        split(lines[i], words, " ")
        if (counts[words[2]] == 0) fails("decides on no test: " lines[i])
        reason = lines[i]
        sub(/^[^ ]+ [^ ]+/, "", reason)
        print words[1], words[2], counts[words[2]] reason
    }
    exit failed
}
function fails(words) {
    print words >"/dev/stderr"
    failed = 1
}
