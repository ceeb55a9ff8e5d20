"""Reads a profile for Firefox Profiler as the viewer does, and holds its call tree of retained memory against heapsum's
JSON. The tables' columns are those of the viewer's types (src/types/profile.ts, processed version 57); what is retained
is computed as in its function filterToRetainedAllocations.

usage: firefox.py REPORT.json PROFILE.json [MARK …]
"""
import json
import re
import sys
from bisect import bisect_left
from collections import defaultdict

from formats import check, frame_text, sums

COLUMNS = {
    "stackTable": {"frame", "prefix"},
    "frameTable": {"address", "inlineDepth", "category", "subcategory", "func", "nativeSymbol", "innerWindowID", "line",
                   "column"},
    "funcTable": {"name", "isJS", "relevantForJS", "resource", "fileName", "lineNumber", "columnNumber"},
    "resourceTable": {"lib", "name", "host", "type"},
    "nativeSymbols": {"libIndex", "address", "name", "functionSize"},
    "markers": {"data", "name", "startTime", "endTime", "phase", "category"},
    "nativeAllocations": {"time", "weight", "stack", "memoryAddress", "threadId"},
}


def retained(allocations):
    """The places of allocations that no later deallocation takes back."""
    kept, at = set(), {}
    for place, weight in enumerate(allocations["weight"]):
        address = allocations["memoryAddress"][place]
        if weight >= 0:
            at[address] = place
            kept.add(place)
        elif address in at:
            kept.discard(at.pop(address))
    return sorted(kept)


def main():
    with open(sys.argv[1]) as file:
        report = json.load(file)
    with open(sys.argv[2]) as file:
        profile = json.load(file)
    meta, strings = profile["meta"], profile["shared"]["stringArray"]
    assert meta["preprocessedProfileVersion"] == 57 and meta["symbolicated"] is True
    assert any(category["color"] == "grey" and category["subcategories"] for category in meta["categories"])
    assert len(set(strings)) == len(strings)
    [thread], libraries = profile["threads"], profile["libs"]
    for table, columns in COLUMNS.items():
        assert columns <= set(thread[table]), table
        for column in columns:
            assert len(thread[table][column]) == thread[table]["length"], (table, column)

    def within(table, column, limit, *others):
        for value in thread[table][column]:
            assert value in others or 0 <= value < limit, (table, column, value)
    stacks, frames, functions = thread["stackTable"], thread["frameTable"], thread["funcTable"]
    within("stackTable", "frame", frames["length"])
    within("frameTable", "func", functions["length"])
    within("frameTable", "nativeSymbol", thread["nativeSymbols"]["length"], None)
    within("funcTable", "name", len(strings))
    within("funcTable", "fileName", len(strings), None)
    within("funcTable", "resource", thread["resourceTable"]["length"], -1)
    within("resourceTable", "lib", len(libraries))
    within("nativeSymbols", "libIndex", len(libraries))
    within("markers", "name", len(strings))
    for stack, prefix in enumerate(stacks["prefix"]):
        assert prefix is None or 0 <= prefix < stack, "a parent is not before its child"
    allocations = thread["nativeAllocations"]
    within("nativeAllocations", "stack", stacks["length"], None)
    assert allocations["weightType"] == "bytes" and allocations["time"] == sorted(allocations["time"])
    assert len(set(allocations["memoryAddress"])) == allocations["length"] < 2**53
    assert all(0 <= moment <= meta["profilingEndTime"] for moment in allocations["time"])

    names_of = {}

    def names(stack):
        """Functions from the innermost outward."""
        if stack not in names_of:
            outer = () if stacks["prefix"][stack] is None else names(stacks["prefix"][stack])
            names_of[stack] = (strings[functions["name"][frames["func"][stacks["frame"][stack]]]],) + outer
        return names_of[stack]
    sys.setrecursionlimit(10_000)
    own, inclusive, blocks = defaultdict(int), defaultdict(int), 0
    kept = retained(allocations)
    for place in kept:
        stack = names(allocations["stack"][place])
        own[stack[0]] += allocations["weight"][place]
        blocks += 1
        for name in set(stack):
            inclusive[name] += allocations["weight"][place]
    expected = sums(report["rows"], "bytes", frame_text)
    compared = check(own, expected[0], "own") + check(inclusive, expected[1], "inclusive")
    totals = report["totals"]
    assert blocks == totals["liveBlocks"] and sum(own.values()) == totals["liveBytes"]
    # A selection in the viewer is a range of places between two times.
    half = bisect_left(allocations["time"], meta["profilingEndTime"] / 2)
    assert sum(allocations["weight"][:half]) + sum(allocations["weight"][half:]) == totals["liveBytes"]

    build_ids = {frame["module"]: frame["buildID"] for row in report["rows"] for frame in row["frames"]}
    for library in libraries:
        assert library["codeId"] == build_ids[library["path"]], library
        if library["codeId"]:
            first = re.match("(..)(..)(..)(..)(..)(..)(..)(..)(.{16})", library["codeId"].upper())
            assert library["breakpadId"] == "".join(first.group(4, 3, 2, 1, 6, 5, 8, 7, 9)) + "0", library
    # Frames: each address of the JSON in its library, with its line.
    found = set()
    for place in range(frames["length"]):
        resource = functions["resource"][frames["func"][place]]
        if resource >= 0:
            path = libraries[thread["resourceTable"]["lib"][resource]]["path"]
            found.add((path, frames["address"][place] + 1, frames["line"][place]))
            symbol = frames["nativeSymbol"][place]
            assert symbol is None or thread["nativeSymbols"]["address"][symbol] <= frames["address"][place]
    wanted = {(frame["module"], frame["offset"], frame["line"]) for row in report["rows"] if row["blocks"]
              for frame in row["frames"] if frame["module"]}
    assert found == wanted, sorted(found ^ wanted, key=str)[:4]
    # Inlined functions are deeper than the function around them, which has depth 0.
    depths = {frames["inlineDepth"][place] for place in range(frames["length"])}
    inlined = [frame["inlined"] for row in report["rows"] if row["blocks"] for frame in row["frames"]]
    assert (max(depths) > 0) == any(inlined)
    [counter] = profile["counters"]
    assert sum(counter["samples"]["count"]) == totals["liveBytes"]
    assert len(counter["samples"]["time"]) == counter["samples"]["length"] == len(counter["samples"]["count"])
    assert [strings[name] for name in thread["markers"]["name"]] == sys.argv[3:]
    print(f"compared {compared + len(found)}")


main()
