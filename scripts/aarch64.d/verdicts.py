"""What scripts/aarch64.d/tools must have left in a directory. usage: verdicts.py DIRECTORY CHECK…"""
import csv, json, os, subprocess, sys
run, what = sys.argv[1], sys.argv[2:]
def lines(name): return open(f"{run}/{name}").read().splitlines()
rows = list(csv.DictReader(open(f"{run}/verdicts", newline=""))) if os.path.exists(f"{run}/verdicts") else []
def sums(verdict):
    return [sum(int(row[key]) for row in rows if row["verdict"] == verdict) for key in ("blocks", "bytes")]
checked = 0
if what[0] == "sums":
    for verdict, blocks, held in zip(what[1::3], what[2::3], what[3::3]):
        assert sums(verdict) == [int(blocks), int(held)], (verdict, sums(verdict), blocks, held)
        checked += int(blocks)
elif what[0] == "threads": # each loses a block of 48 bytes, and holds two of 64 and 80
    count = int(what[1])
    assert sums("definite") == [count, count * 48] and sums("possible") == [0, 0], (sums("definite"), sums("possible"))
    for size in (64, 80):
        own = [row["verdict"] for row in rows if [int(row["blocks"]), int(row["bytes"])] == [count, size * count]]
        assert own == ["reachable"], (size, own)
    checked = 3 * count
elif what[0] == "truth": # the program says of each block, by its size, what is true
    seen = {}
    for row in rows: seen.setdefault(int(row["bytes"]) // int(row["blocks"]), []).append(row["verdict"])
    wrong = []
    for line in open(f"{run}/said"):
        words = line.rstrip("\n").split(" ", 2)
        if len(words) != 3: continue
        checked += 1
        if seen.get(int(words[0])) != [words[1]]: wrong.append((line, seen.get(int(words[0]))))
    assert not wrong, wrong
elif what[0] in ("lost", "clean"): # at the end; lost: the bytes of a block that is
    plain, recorded = lines("status")[0].split()
    assert plain == recorded, (plain, recorded)
    lost = [row for row in rows if row["verdict"] in ("definite", "indirect")]
    if what[0] == "clean": assert not rows, rows
    else: assert [row for row in lost if row["bytes"] == what[1]], rows
    checked = len(lost) or 1
elif what[0] in ("still", "finally"): # what it had said when the looks were over, or at its end
    said = lines("said")
    assert said[-1] == "status 0", said
    assert (lines("before") if what[0] == "still" else said[-2:-1]) == [" ".join(what[1:])], (lines("before"), said)
    checked = 1
elif what[0] == "waited": # without a recording and with one: the same, and no limit cut short
    plain, said = lines("plain"), lines("said")
    taken = [int(line.split()[1]) for line in said if line.startswith("milliseconds")]
    same = [[line for line in text if not line.startswith("milliseconds")] for text in (plain, said)]
    assert same[0] == same[1] and len(taken) == 1 and same[0][-1] == "status 0", (plain, said)
    assert "limited" not in what or taken[0] >= 2999, taken
    checked = 1
elif what[0] == "trimmed": # foretold, and given back by malloc; pages of so many KB
    before, after = (json.load(open(f"{run}/{name}"))["pages"] for name in ("survey", "after"))
    returned = int([line for line in lines("said") if line.startswith("returned")][0].split()[1])
    page = int(what[1]) * 1024
    slack = max(returned // 50, 16 * page)
    parts = ("live", "overhead", "pinned", "trimmable", "top", "kept", "rim", "unclear")
    assert before["pageBytes"] == page and before["unclearBytes"] == 0, before
    assert sum(before[part + "Bytes"] for part in parts) == before["residentBytes"], before
    assert returned > 8 << 20 and abs(returned - before["trimmableBytes"]) <= slack, (returned, before)
    assert after["trimmableBytes"] <= 16 * page, after
    assert abs(before["residentBytes"] - returned - after["residentBytes"]) <= slack, (returned, before, after)
    checked = returned // page
elif what[0] == "gathered": # by heapwatch, and by a script; read by this machine's heapwatch, which has other pages
    page, heapwatch = int(what[1]) * 1024, what[2]
    def told(*words): return subprocess.run([heapwatch, *words], capture_output=True, text=True)
    def last(directory, column): # of the newest sample, by name
        rows = csv.DictReader(told("export", directory, "--format", "csv").stdout.splitlines())
        return {row["name"]: int(row["value"]) for row in rows if row["column"] == column}
    memory = json.loads(told("verdict", f"{run}/watch", "--format", "json").stdout)["memory"]
    listed = last(f"{run}/watch", "zoneinfo.pagesOnLists")["system"]
    assert listed > 0 and memory["kernel"]["pageLists"] == listed * page, (listed, memory)
    refused = told("import", "-o", f"{run}/refused", f"{run}/log")
    assert (refused.returncode == 0) == (page == 4096), refused
    assert page == 4096 or f"--page-size {page // 1024}K" in refused.stderr, refused
    taken = told("import", "-o", f"{run}/taken", "--page-size", str(page), f"{run}/log")
    assert taken.returncode == 0 and "could not be read" not in taken.stderr, taken
    # The kernel's sum has also what is too large for a cache.
    caches = last(f"{run}/taken", "pages")
    share = sum(caches.values()) * page / 1024 / last(f"{run}/taken", "meminfo.Slab")["system"]
    assert 0.6 < share < 1.02, (share, caches)
    checked = len(caches)
elif what[0] == "earlier": # as many as the program lists, beside libc's own; each thread has a vector of its storage
    def found(shape):
        survey, live = json.load(open(f"{run}/survey-{shape}"))["pages"], lines(f"list-{shape}")
        parts = ("live", "earlier", "overhead", "pinned", "trimmable", "top", "kept", "rim", "unclear")
        assert sum(survey[part + "Bytes"] for part in parts) == survey["residentBytes"], survey
        assert survey["earlier"]["isWhole"] and survey["earlier"]["youngerAtMost"] == 0, survey["earlier"]
        return survey["earlier"]["blocks"], len(live)
    (blocks, listed), (others, own) = found(what[1]), found("none")
    more = blocks - listed - (others - own)
    assert 0 <= more <= {"threads": 16, "heaps": 1}.get(what[1], 0), (blocks, listed, others, own)
    checked = listed
elif what[0] == "attached": # the reports of two images, and what the program answered
    turn = ["free 0", "work 0", "look 0", "fork 7"]
    assert lines("said") == ["work 0", *turn, *turn, "free 0", "status 0"], lines("said")
    assert len(what) == 3, what
    for report in what[1:]:
        found = [(row["blocks"], row["bytes"]) for row in json.load(open(report))["rows"]]
        for size in [*range(1001, 1008), 1010]: assert (10, 10 * size) in found, (report, size, found)
        checked += 80
assert checked > 0
print(checked)
