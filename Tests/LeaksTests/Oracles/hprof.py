"""Reads a heap dump of `heapsum leaks --format hprof` by the published format, and holds it against what heapsum says
elsewhere: the blocks and their bytes, what each holder keeps, and what each lost block drags along. Dominators are
computed anew. Sizes are Eclipse MAT's (HprofParserHandlerImpl.java, Pass1Parser.java), and those that VisualVM found.

usage: hprof.py DUMP LEAKS.json RECORDS [VISUALVM]
"""
import json
import re
import struct
import sys

dump, leaks, records = open(sys.argv[1], "rb").read(), json.load(open(sys.argv[2])), open(sys.argv[3]).read()
HEAP_END = 1 << 47
ROOTS = {0xFF: 8, 0x01: 16, 0x04: 12, 0x05: 8}
VALUES = {2: 8, 4: 1, 5: 2, 6: 4, 7: 8, 8: 1, 9: 2, 10: 4, 11: 8}

head = b"JAVA PROFILE 1.0.2\0"
assert dump.startswith(head)
assert struct.unpack_from(">I", dump, len(head)) == (8,)
at = len(head) + 12
strings, names, classes, arrays, roots, ended = {}, {}, {}, {}, {}, False
compressed, previous = False, (0, 0)


def segment(at, end):
    global compressed, previous
    while at < end:
        tag = dump[at]
        at += 1
        if tag in ROOTS:
            roots[struct.unpack_from(">Q", dump, at)[0]] = tag
            at += ROOTS[tag]
        elif tag == 0x20:
            own, trace, parent = struct.unpack_from(">QIQ", dump, at)
            at += 20 + 40 + 4
            constants, statics = struct.unpack_from(">HH", dump, at)
            assert constants == 0 and own in names and own not in classes
            at += 4
            fields = {}
            for _ in range(statics):
                name, kind = struct.unpack_from(">QB", dump, at)
                fields[strings[name]] = int.from_bytes(dump[at + 9:at + 9 + VALUES[kind]], "big", signed=True)
                at += 9 + VALUES[kind]
            count, = struct.unpack_from(">H", dump, at)
            for index in range(count):
                assert struct.unpack_from(">QB", dump, at + 2 + 9 * index)[0] in strings
            at += 2 + 9 * count
            classes[own] = (parent, fields)
        elif tag == 0x22:
            own, trace, count, kind = struct.unpack_from(">QIIQ", dump, at)
            assert own not in arrays and kind in classes and names[kind].startswith("[L"), hex(own)
            # As MAT finds out that references have 4 bytes.
            compressed = compressed or previous[0] < own < previous[1]
            previous = (own, own + 16 + 8 * count)
            body = dump[at + 24:at + 24 + 8 * count]
            assert len(body) == 8 * count
            used = (len(body.rstrip(b"\0")) + 7) // 8
            arrays[own] = (kind, count, struct.unpack_from(f">{used}Q", body))
            at += 24 + 8 * count
        else:
            raise AssertionError(f"sub-record {tag:#x} at {at - 1:#x}")
    assert at == end


while at < len(dump):
    tag, _, length = struct.unpack_from(">BII", dump, at)
    at += 9
    assert not ended and at + length <= len(dump)
    if tag == 0x01:
        strings[struct.unpack_from(">Q", dump, at)[0]] = dump[at + 8:at + length].decode()
    elif tag == 0x02:
        serial, own, trace, name = struct.unpack_from(">IQIQ", dump, at)
        names[own] = strings[name]
    elif tag == 0x1C:
        segment(at, at + length)
    elif tag == 0x2C:
        ended = True
    else:
        assert tag == 0x05, hex(tag)
    at += length
assert ended and compressed and set(names) == set(classes)
assert all(roots.pop(own) == 0x05 and parent in (set(classes) | {0}) for own, (parent, _) in classes.items())
assert set(roots) == {own for own in arrays if own >= HEAP_END}


def size(own):
    return (16 + 4 * arrays[own][1] + 7) & ~7


# The blocks are those of the image, with their bytes; what is in the middle of one is a further part of it.
bytes_of = {int(address, 16): int(count, 16) for address, count in re.findall(
    r"Allocation #\d+: 0x([0-9A-F]+)\nAllocation size: 0x([0-9A-F]+)", records)}
shown, first = {}, {}
for own in sorted(own for own in arrays if own < HEAP_END):
    first[own] = own if own in bytes_of else last
    last = first[own]
    assert own < last + max(bytes_of[last], 1)
    shown[last] = shown.get(last, 0) + size(own)
assert set(shown) == set(bytes_of), (len(shown), len(bytes_of))
for own, count in bytes_of.items():
    # Never more than the chunk that malloc takes for it, and of 32 bytes on only rounded up.
    assert count <= shown[own] <= max(32, (count + 8 + 15) & ~15), (count, shown[own])
    assert count < 32 or shown[own] < count + 8, (count, shown[own])

# Dominators (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm).
order, number, stack = [], {}, [(0, iter(sorted(roots)))]
edges = {0: sorted(roots)} | {own: [held for held in array[2] if held] for own, array in arrays.items()}
seen = {0}
while stack:
    node, rest = stack[-1]
    for held in rest:
        if held not in seen:
            seen.add(held)
            stack.append((held, iter(edges[held])))
            break
    else:
        stack.pop()
        number[node] = len(order)
        order.append(node)
assert seen == set(arrays) | {0}, "each object is held by a root"
before = {}
for node in order:
    for held in edges[node]:
        before.setdefault(held, []).append(node)
dominator, changed = {0: 0}, True
while changed:
    changed = False
    for node in reversed(order[:-1]):
        found = None
        for one in before[node]:
            if one in dominator:
                two = found
                while two is not None and one != two:
                    if number[one] < number[two]:
                        one = dominator[one]
                    else:
                        two = dominator[two]
                found = one
        if dominator.get(node) != found:
            dominator[node], changed = found, True
blocks, held, retained = dict.fromkeys(edges, 0), dict.fromkeys(edges, 0), dict.fromkeys(edges, 0)
for node in order[:-1]:
    if node in bytes_of:
        blocks[node] += 1
        held[node] += bytes_of[node]
    retained[node] += size(node)
    for sums in (blocks, held, retained):
        sums[dominator[node]] += sums[node]

# What the roots keep.
title = {own: names[arrays[own][0]][2:-1] for own in arrays}
of_root = {title[own]: own for own in roots}
assert len(of_root) == len(roots)
tops = [line for line in leaks["holders"] if line["depth"] == 0]
assert tops
for line in tops:
    if not line["severalRoots"]:
        own = of_root[line["holder"]]
        assert (blocks[own], held[own]) == (line["keptBlocks"], line["keptBytes"]), (line, blocks[own], held[own])
        assert roots[own] in (0x01, 0x04)
totals = leaks["verdicts"]
for name, verdicts in [("possibly lost", ["possible"]), ("lost", ["definite", "indirect"])]:
    own = of_root.pop(name)
    assert roots[own] == 0xFF
    assert held[own] == sum(totals[one]["bytes"] for one in verdicts), (name, held[own])
    assert blocks[own] == sum(totals[one]["blocks"] for one in verdicts), (name, blocks[own])
assert sum(line["keptBytes"] for line in tops if line["severalRoots"]) == sum(
    held[node] for node in bytes_of if dominator[node] == 0)
# What a lost block drags along.
dragging = 0
for row in leaks["rows"]:
    if row["verdict"] == "definite" and row["blocks"] == 1:
        assert held[int(row["example"], 16)] == row["bytes"] + row["indirectBytes"], row
        dragging += row["indirectBytes"] > 0
# A class has the stack that its row has.
for row in leaks["rows"]:
    fields = classes[arrays[int(row["example"], 16)][0]][1]
    frames = [frame for frame in row["frames"] if frame["function"]]
    lines = [line for name, line in fields.items() if line]
    assert lines == [frame["line"] for frame in frames if frame.get("line")], (fields, frames)
    for frame in frames:
        assert any(frame["function"] in name for name in fields), (frame, fields)

if len(sys.argv) > 4:
    found = {}
    for line in open(sys.argv[4]):
        own, own_size, own_retained, kind = line.rstrip("\n").split(" ", 3)
        found[int(own, 16)] = (int(own_size), int(own_retained), kind)
    for own in arrays:
        assert found[own] == (size(own), retained[own], title[own].replace("/", ".") + "[]"), (
            hex(own), found[own], size(own), retained[own], title[own])
print(f"{len(bytes_of)} blocks, {len(roots) - 2} roots, {dragging} drag others along,",
      f"{sum(shown.values()) - sum(bytes_of.values())} bytes more")
