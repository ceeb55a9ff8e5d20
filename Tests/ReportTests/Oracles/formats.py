"""Holds what the readers of other formats print against heapsum's own JSON: each function's own and inclusive figures.

usage: formats.py FORMAT REPORT.json FILE, where FILE is what the reader printed (speedscope: what heapsum wrote).
The JSON is of all stacks: --sort allocated-bytes.
"""
import json
import os
import re
import sys
from collections import defaultdict

KEYS = {"Bytes": "bytes", "Blocks": "blocks", "AllocatedBytes": "allocatedBytes", "AllocatedBlocks": "allocatedBlocks",
        "PeakBytes": "peakBytes", "TemporaryBlocks": "temporaryBlocks"}


def frame_text(frame):
    if frame["function"] is not None:
        return frame["function"]
    if frame["module"] is None:
        return hex(frame["address"])
    return f'{os.path.basename(frame["module"])}+{frame["offset"]:#x}'


def sums(rows, key, name):
    """Own and inclusive figures by name(frame)."""
    own, inclusive = defaultdict(int), defaultdict(int)
    for row in rows:
        names = [name(frame) for frame in row["frames"]]
        own[names[0]] += row[key]
        for each in set(names):
            inclusive[each] += row[key]
    return own, inclusive


def check(found, expected, what):
    expected = {name: value for name, value in expected.items() if value}
    found = {name: value for name, value in found.items() if value}
    assert found == expected, f"{what}: {sorted(set(found.items()) ^ set(expected.items()))[:8]}"
    return len(found)


def pprof(report, text, key):
    # A frame without a name is its module's to pprof.
    def name(frame):
        return frame["function"] or f'[{os.path.basename(frame["module"])}]'
    own, inclusive = sums(report["rows"], key, name)
    flat, cumulative = {}, {}
    for line in text.splitlines():
        match = re.match(r"\s*(\d+)B?\s+[\d.]+%\s+[\d.]+%\s+(\d+)B?\s+[\d.]+%\s+(.*?)(?: \(inline\))?$", line)
        if match:
            flat[match[3]] = flat.get(match[3], 0) + int(match[1])
            cumulative[match[3]] = cumulative.get(match[3], 0) + int(match[2])
    total = sum(row[key] for row in report["rows"])
    assert re.search(rf"Showing nodes accounting for {total}B?, 100% of {total}B? total", text), text[:600]
    return check(flat, own, "flat") + check(cumulative, inclusive, "cumulative")


def callgrind(report, text, is_inclusive):
    events = re.search(r"Events recorded:\s+(.*)", text)[1].split()
    figures = defaultdict(lambda: [0] * len(events))
    totals = None
    for line in text.splitlines():
        match = re.match(r"\s*((?:[\d,.]+\s+)+)(PROGRAM TOTALS|\S.*)$", line)
        if not match:
            continue
        values = [0 if value == "." else int(value.replace(",", "")) for value in match[1].split()]
        if len(values) != len(events):
            continue
        if match[2] == "PROGRAM TOTALS":
            totals = values
        else:
            # A function of several objects is one here.
            name = re.sub(r" \[[^]]*\]$", "", match[2])
            if name != "???:(all stacks)":
                figures[name] = [a + b for a, b in zip(figures[name], values)]
    compared = 0
    for place, event in enumerate(events):
        if event not in KEYS:
            continue
        key = KEYS[event]
        assert totals[place] == sum(row[key] for row in report["rows"]), event
        own, inclusive = sums(report["rows"], key, lambda frame: f'{frame["file"] or "???"}:{frame_text(frame)}')
        compared += check({name: values[place] for name, values in figures.items()}, inclusive if is_inclusive else own, event)
    return compared


def massif(report, text):
    """Each node that ms_print shows, by its path from the innermost frame, of the peak and of the end."""
    def label(frame):
        address = f'{frame["address"]:#x}: ' if frame["address"] is not None else ""
        if frame["file"]:
            inlined = " (inlined)" if frame["inlined"] else ""
            return f'{address}{frame_text(frame)} ({os.path.basename(frame["file"])}:{frame["line"]}{inlined})'
        return f'{address}{frame_text(frame)}' + (f' (in {frame["module"]})' if frame["module"] and frame["function"] else "")
    trees = {}
    for key in ("bytes", "peakBytes"):
        trees[key] = defaultdict(int)
        for row in report["rows"]:
            for depth in range(len(row["frames"]) + 1):
                trees[key][tuple(label(frame) for frame in row["frames"][:depth])] += row[key]
    peak = int(re.search(r"(\d+) \(peak\)", text)[1])
    compared, snapshot, path, last = 0, None, [], None
    for line in text.splitlines():
        table = re.match(r"\s*(\d+)\s+([\d,]+)\s+([\d,]+)\s+([\d,]+)\s+0\s+0$", line)
        if table:
            snapshot, last = int(table[1]), int(table[3].replace(",", ""))
            if snapshot == peak:
                # Of several threads the stacks' peaks may be more than the process's; its error stands in the image.
                assert last == max(report["totals"]["peakBytes"], trees["peakBytes"][()]), last
                trees["peakBytes"][()] = last
            continue
        node = re.match(r"([ |]*)(->)?(\d\d+\.\d+)% \(([\d,]+)B\) (.*)$", line)
        if not node or " places, all below " in node[5] or "stacks that are not shown" in node[5]:
            continue
        depth = len(node[1]) // 2 + 1 if node[2] else 0
        path[depth:] = [node[5]]
        expected = trees["peakBytes" if snapshot == peak else "bytes"][tuple(path[1:depth + 1])]
        assert int(node[4].replace(",", "")) == expected, (snapshot, path, node[4], expected)
        compared += 1
    assert last == report["totals"]["liveBytes"], last
    return compared


def speedscope(report, text):
    """By the facts of https://www.speedscope.app/file-format-schema.json."""
    file = json.loads(text)
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert set(file) <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    frames = file["shared"]["frames"]
    for frame in frames:
        assert set(frame) <= {"name", "file", "line", "col"} and isinstance(frame["name"], str)
    assert len({(frame["name"], frame.get("file")) for frame in frames}) == len(frames)
    assert 0 <= file["activeProfileIndex"] < len(file["profiles"])
    keys = {"live bytes": "bytes", "live blocks": "blocks", "allocated bytes": "allocatedBytes", "allocated blocks": "allocatedBlocks",
            "bytes at the peak": "peakBytes", "temporary blocks": "temporaryBlocks"}
    compared, seen = 0, set()
    for profile in file["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert profile["type"] == "sampled" and profile["unit"] in ("bytes", "none") and profile["startValue"] == 0
        assert len(profile["samples"]) == len(profile["weights"]) and sum(profile["weights"]) == profile["endValue"]
        seen.add(profile["name"])
        if profile["name"] not in keys:
            continue
        own, inclusive = defaultdict(int), defaultdict(int)
        for sample, weight in zip(profile["samples"], profile["weights"]):
            names = [frames[number]["name"] for number in sample]
            own[names[-1]] += weight
            for name in set(names):
                inclusive[name] += weight
        expected = sums(report["rows"], keys[profile["name"]], frame_text)
        compared += check(own, expected[0], profile["name"]) + check(inclusive, expected[1], profile["name"])
    assert seen >= set(keys), seen
    return compared


def folded(report, text, key):
    own, inclusive = defaultdict(int), defaultdict(int)
    for line in text.splitlines():
        stack, value = line.rsplit(" ", 1)
        names = stack.split(";")
        own[names[-1]] += int(value)
        for name in set(names):
            inclusive[name] += int(value)
    expected = sums(report["rows"], key, frame_text)
    return check(own, expected[0], "own") + check(inclusive, expected[1], "inclusive")


def heaptrack(report, text):
    """heaptrack_print's flame graph of what is leaked. What called main is left out there."""
    own, inclusive = defaultdict(int), defaultdict(int)
    for line in text.splitlines():
        stack, value = line.rsplit("; ", 1)
        # Some functions come with their file: keep(int) (formats.cc).
        names = [re.sub(r" \([^()]+\.\w+\)$", "", name) for name in stack.split(";")]
        own[names[-1]] += int(value)
        for name in set(names):
            inclusive[name] += int(value)
    expected = sums(report["rows"], "bytes", frame_text)
    shown = {name: value for name, value in expected[1].items() if name in inclusive}
    return check(own, expected[0], "own") + check(inclusive, shown, "inclusive")


def main():
    what, report_path, path = sys.argv[1:4]
    with open(report_path) as file:
        report = json.load(file)
    with open(path) as file:
        text = file.read()
    compared = {
        "pprof": lambda: pprof(report, text, sys.argv[4]), "folded": lambda: folded(report, text, sys.argv[4]),
        "callgrind": lambda: callgrind(report, text, False), "callgrind-inclusive": lambda: callgrind(report, text, True),
        "massif": lambda: massif(report, text), "speedscope": lambda: speedscope(report, text),
        "heaptrack": lambda: heaptrack(report, text),
    }[what]()
    print(f"compared {compared}")


if __name__ == "__main__":
    main()
