"""What a report must hold: one check a word. usage: check.py REPORT PROGRAMS CHECK…"""
import json, re, subprocess, sys
report, programs, what = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3:]
rows, totals = report["rows"], report["totals"]
def names(row): return [frame["function"] for frame in row["frames"]]
def through(function): return [row for row in rows if function in names(row)]
def total(some, key): return sum(row[key] for row in some)
assert totals["allocatedBlocks"] - totals["freedBlocks"] == totals["liveBlocks"], totals
assert totals["lostEvents"] == 0 and totals["unmatchedFrees"] == 0, totals
assert rows, "no stacks"
if what[0] == "holds": # function, blocks, bytes: what is live there
    for function, blocks, held in zip(what[1::3], what[2::3], what[3::3]):
        seen = total(through(function), "blocks"), total(through(function), "bytes")
        assert seen == (int(blocks), int(held)), (function, seen, blocks, held)
elif what[0] == "sums": # a file with lines as mix prints them
    for line in open(what[1]):
        function, *said = line.split()
        some = through(function)
        seen = [total(some, key) for key in ("bytes", "blocks", "allocatedBytes", "allocatedBlocks")]
        assert seen == [int(number) for number in said], (function, seen, said)
elif what[0] == "named": # a file with lines as functions prints them: what each function has left
    for line in open(what[1]):
        words = line.split()
        if len(words) != 3: continue
        some = through("leak_" + words[0]) or through("give_" + words[0])
        seen = (total(some, "blocks"), total(some, "bytes"))
        assert seen == (int(words[1]), int(words[2])), (words, seen)
elif what[0] == "chains": # a file with the functions that each stack must have, innermost first; "-": without a name
    wanted = sorted(line.split() for line in open(what[1]))
    seen = sorted([name or "-" for name in names(row)] for row in rows if row["frames"][0]["function"] == "keep")
    seen = [chain[:chain.index("main") + 1] for chain in seen]
    assert seen == wanted, (seen, wanted)
elif what[0] == "mapped": # the kernel's list of mappings before, and now: what came since is what is booked
    def pages(path):
        found = set()
        for line in open(path):
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            # Not the first thread's stack, which grows.
            if "[stack]" not in line and end - start < 1 << 33: found.update(range(start >> 12, end >> 12))
        return found
    came = len(pages(what[2]) - pages(what[1])) << 12
    assert came > 0
    assert report["mapped"]["bytes"] == came and report["mapped"]["lostCalls"] == 0, (report["mapped"]["bytes"], came)
# Each name of the test programs' functions is the one that binutils find.
frames = {(frame["module"], frame["offset"]): frame for row in rows for frame in row["frames"] if frame["module"]}
checked = 0
for module in {module for module, _ in frames if module.startswith(programs)}:
    places = sorted(offset for other, offset in frames if other == module)
    said = subprocess.run(["aarch64-linux-gnu-addr2line", "-a", "-f", "-C", "-i", "-e", module],
        input="".join(f"{offset - 1:#x}\n" for offset in places), capture_output=True, text=True, check=True).stdout
    found, here = {}, None
    for line in said.splitlines():
        if line.startswith("0x"): here = found.setdefault(int(line, 16) + 1, [])
        else: here.append(line)
    # A function of libc has several names, which a static program keeps.
    symbols = subprocess.run(["aarch64-linux-gnu-nm", module], capture_output=True, text=True, check=True).stdout
    address = {words[2]: words[0] for words in map(str.split, symbols.splitlines()) if len(words) == 3}
    for offset in places:
        name = frames[module, offset]["function"]
        # addr2line leaves out the result and arguments of some, and shortens template arguments.
        theirs = {re.split("[<(]", text)[0] or text for text in found[offset][::2]} - {"??"}
        same = any(text in (name or "") or address.get(text, 0) == address.get(name, 1) for text in theirs)
        assert same, (module, hex(offset), name, theirs)
        checked += 1
assert checked > 0
print(checked)
