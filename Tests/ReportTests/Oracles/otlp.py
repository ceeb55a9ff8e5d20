"""Decodes OpenTelemetry profiles by the published definition (Python's package opentelemetry-proto), checks the rules that it
states, and holds every sum against heapsum's JSON.

usage: otlp.py REPORT.json FILE [KEY=VALUE ...], where FILE is a message ProfilesData, and the rest attributes that its
resource must have. The JSON is of all stacks: --sort allocated-bytes.
"""
import json
import os
import sys
from collections import defaultdict

from opentelemetry.proto.profiles.v1development import profiles_pb2

KEYS = {"inuse_space": ("bytes", "bytes"), "inuse_objects": ("blocks", "count"),
        "alloc_space": ("allocatedBytes", "bytes"), "alloc_objects": ("allocatedBlocks", "count")}


def text(value):
    return str(getattr(value, value.WhichOneof("value")))


def check_tables(tables):
    """The rules at ProfilesDictionary: each table begins with an empty entry, no entry twice, none unused."""
    used = defaultdict(set)
    for field in tables.DESCRIPTOR.fields:
        table = getattr(tables, field.name)
        assert table, f"{field.name} is empty"
        if field.name == "string_table":
            assert table[0] == "" and len(set(table)) == len(table)
            continue
        entries = [entry.SerializeToString(deterministic=True) for entry in table]
        assert entries[0] == b"", field.name
        assert len(set(entries)) == len(entries), f"{field.name} has an entry twice"
    size = {name: len(getattr(tables, name + "_table"))
            for name in ("mapping", "location", "function", "string", "attribute", "stack")}

    def use(table, number):
        assert 0 <= number < size[table], (table, number)
        used[table].add(number)

    def use_attributes(numbers):
        keys = [tables.attribute_table[number].key_strindex for number in numbers]
        assert len(set(keys)) == len(keys)
        for number in numbers:
            use("attribute", number)
    for mapping in tables.mapping_table:
        assert mapping.memory_start < mapping.memory_limit or mapping.memory_start == mapping.memory_limit == 0
        use("string", mapping.filename_strindex)
        use_attributes(mapping.attribute_indices)
    for location in tables.location_table:
        use("mapping", location.mapping_index)
        use_attributes(location.attribute_indices)
        mapping = tables.mapping_table[location.mapping_index]
        if mapping.memory_limit:
            assert mapping.memory_start <= location.address < mapping.memory_limit, location
        for line in location.lines:
            assert line.line >= 0
            use("function", line.function_index)
    for function in tables.function_table:
        for number in (function.name_strindex, function.system_name_strindex, function.filename_strindex):
            use("string", number)
    for stack in tables.stack_table:
        for number in stack.location_indices:
            use("location", number)
    for attribute in tables.attribute_table:
        use("string", attribute.key_strindex)
        use("string", attribute.unit_strindex)
    return use, use_attributes, used, size


def frames(tables, stack):
    """As in the JSON: function or module and offset, innermost first."""
    names = []
    for number in tables.stack_table[stack].location_indices:
        location = tables.location_table[number]
        for line in location.lines:
            function = tables.function_table[line.function_index]
            names.append((tables.string_table[function.name_strindex], line.line or None))
        if not location.lines:
            mapping = tables.mapping_table[location.mapping_index]
            names.append((tables.string_table[mapping.filename_strindex], location.address + 1))
    return tuple(names)


def reported(frame):
    if frame["function"] is not None:
        return frame["function"], frame["line"]
    return frame["module"], frame["address"]


def check(report, data):
    tables = data.dictionary
    use, use_attributes, used, size = check_tables(tables)
    [resource], compared, types = data.resource_profiles, 0, []
    [scope] = resource.scope_profiles
    assert scope.scope.name == "heapsum" and scope.scope.version
    for profile in scope.profiles:
        kind, unit = (tables.string_table[number] for number in
                      (profile.sample_type.type_strindex, profile.sample_type.unit_strindex))
        use("string", profile.sample_type.type_strindex)
        use("string", profile.sample_type.unit_strindex)
        use_attributes(profile.attribute_indices)
        key, unit_wanted = KEYS[kind]
        assert unit == unit_wanted and profile.time_unix_nano > 1_700_000_000 * 10**9
        types.append(kind)
        found, expected, identities = defaultdict(int), defaultdict(int), set()
        for sample in profile.samples:
            use("stack", sample.stack_index)
            use_attributes(sample.attribute_indices)
            assert len(sample.values) == 1 and sample.values[0] > 0 and not sample.timestamps_unix_nano
            identity = (sample.stack_index, tuple(sorted(sample.attribute_indices)), sample.link_index)
            assert identity not in identities
            identities.add(identity)
            found[frames(tables, sample.stack_index)] += sample.values[0]
        for row in report["rows"]:
            if row[key]:
                expected[tuple(reported(frame) for frame in row["frames"])] += row[key]
        assert found == expected, f"{kind}: {list(set(found.items()) ^ set(expected.items()))[:4]}"
        compared += len(found)
        for total, sum_of in (("liveBytes", "inuse_space"), ("liveBlocks", "inuse_objects"),
                              ("allocatedBytes", "alloc_space"), ("allocatedBlocks", "alloc_objects")):
            if kind == sum_of:
                assert sum(found.values()) == report["totals"][total], (kind, report["totals"])
    assert sorted(types) == sorted(KEYS) and types[0] == "inuse_space", types
    for table, count in size.items():
        # Number 0 stands for "none".
        unused = set(range(1, count)) - used[table]
        if table == "string":
            unused = {number for number in unused if tables.string_table[number] not in ("space", "bytes")}
        assert not unused, f"unused in {table}_table: {sorted(unused)[:8]}"
    build_ids = {frame["module"]: frame["buildID"] for row in report["rows"] for frame in row["frames"]}
    for mapping in tables.mapping_table[1:]:
        of_mapping = {tables.string_table[tables.attribute_table[number].key_strindex]:
                      text(tables.attribute_table[number].value) for number in mapping.attribute_indices}
        path = tables.string_table[mapping.filename_strindex]
        assert of_mapping.get("process.executable.build_id.gnu") == build_ids[path], path
        compared += 1
    return compared


def resource_attributes(data):
    [resource] = data.resource_profiles
    pairs = [(attribute.key, text(attribute.value)) for attribute in resource.resource.attributes]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def main():
    with open(sys.argv[1]) as file:
        report = json.load(file)
    data = profiles_pb2.ProfilesData()
    with open(sys.argv[2], "rb") as file:
        data.ParseFromString(file.read())
    compared = check(report, data)
    attributes = resource_attributes(data)
    [of_report] = report["inputs"]
    wanted = {"process.pid": str(of_report["pid"]), "process.executable.name": os.path.basename(of_report["program"]),
              "os.type": "linux"} | dict(word.split("=", 1) for word in sys.argv[3:])
    for key, value in wanted.items():
        assert attributes.get(key) == value, (key, value, attributes)
    print(f"compared {compared}")


if __name__ == "__main__":
    main()
