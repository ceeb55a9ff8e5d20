"""Compares the frames of a JSON report (standard input) with what addr2line says of an unstripped file.

Arguments: a module's name, and its unstripped file; and more such pairs. Prints how many frames were compared, and how
many of them have inlined calls.
"""

import json
import subprocess
import sys

unstripped = dict(zip(sys.argv[1::2], sys.argv[2::2]))
found = {}
for row in json.load(sys.stdin)["rows"]:
    group = []
    for frame in row["frames"]:
        if frame["module"] not in unstripped:
            assert not group
            continue
        group.append((frame["function"], frame["file"], frame["line"]))
        if frame["inlined"] is not True:
            found[frame["module"], frame["offset"]] = group
            group = []

inlined = 0
for (module, offset), calls in found.items():
    address = (int(offset, 0) if isinstance(offset, str) else offset) - 1
    told = subprocess.run(
        ["addr2line", "-C", "-f", "-i", "-e", unstripped[module], hex(address)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    wanted = []
    for function, place in zip(told[::2], told[1::2]):
        file, line = place.split(" (discriminator")[0].rsplit(":", 1)
        # Code of the C runtime has a symbol and no source.
        wanted.append((function, None, None) if file == "??" else (function, file, int(line)))
    assert calls == wanted, f"{module} {address:#x}: {calls}, and addr2line: {wanted}"
    inlined += len(calls) > 1
print(len(found), inlined)
