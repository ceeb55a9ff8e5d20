"""Decodes a trace by Perfetto's published definition (Python's package perfetto), follows it as Perfetto's trace processor does,
and holds the heap profile against heapsum's JSON.

usage: perfetto_trace.py REPORT.json TRACE [MARK …], where the JSON is of all stacks: --sort allocated-bytes.
"""
import json
import sys
from collections import defaultdict

from perfetto.protos.perfetto.trace import perfetto_trace_pb2

from formats import frame_text


class Reader:
    """What the trace processor keeps of one sequence of packets, and its tables."""

    def __init__(self):
        self.interned = None
        self.allocations = defaultdict(lambda: [0, 0, 0, 0])
        self.seen = set()
        self.index = 0
        self.counters, self.tracks = defaultdict(list), {}
        self.slices, self.open = [], []
        self.clocks, self.resident, self.process, self.ended = {}, [], None, False

    def packet(self, packet):
        assert packet.trusted_packet_sequence_id == 1
        if packet.HasField("timestamp"):
            assert packet.timestamp_clock_id in self.clocks, "a clock that no snapshot has"
        if packet.sequence_flags & 1:
            self.interned = defaultdict(dict)
        kind = packet.WhichOneof("data")
        if packet.HasField("interned_data"):
            for field, entries in packet.interned_data.ListFields():
                for entry in entries:
                    assert entry.iid not in self.interned[field.name] and entry.iid > 0
                    self.interned[field.name][entry.iid] = entry
        if kind == "clock_snapshot":
            self.clocks = {clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks}
            assert packet.clock_snapshot.primary_trace_clock in self.clocks
        elif kind == "profile_packet":
            assert packet.sequence_flags & 2 and self.interned is not None
            self.profile(packet.profile_packet)
        elif kind == "track_descriptor":
            descriptor = packet.track_descriptor
            assert descriptor.uuid not in self.tracks
            assert not descriptor.parent_uuid or descriptor.parent_uuid in self.tracks
            self.tracks[descriptor.uuid] = descriptor
        elif kind == "track_event":
            event = packet.track_event
            name = self.tracks[event.track_uuid].name
            if event.type == event.TYPE_COUNTER:
                self.counters[name].append((packet.timestamp, event.counter_value))
            elif event.type == event.TYPE_SLICE_BEGIN:
                self.open.append((event.name, packet.timestamp))
            elif event.type == event.TYPE_SLICE_END:
                self.slices.append(self.open.pop() + (packet.timestamp,))
        elif kind == "process_stats":
            for entry in packet.process_stats.processes:
                self.resident.append((entry.pid, entry.vm_rss_kb))
        elif kind == "process_tree":
            [self.process] = packet.process_tree.processes
        else:
            assert kind is None, kind

    def profile(self, packet):
        assert not self.ended and packet.index == self.index
        self.index += 1
        [dump] = packet.process_dumps
        assert dump.heap_name == "libc.malloc" and dump.pid == self.process.pid and 4 in self.clocks
        assert dump.start_timestamp == self.clocks[3] and dump.timestamp >= dump.start_timestamp
        for sample in dump.samples:
            frames = self.callstack(sample.callstack_id)
            # A second sample of the same call stack would be taken for a later moment.
            assert frames not in self.seen, frames
            self.seen.add(frames)
            for place, value in enumerate((sample.self_allocated, -sample.self_freed, sample.alloc_count,
                                           -sample.free_count)):
                self.allocations[frames][place] += value
        self.ended = not packet.continued

    def callstack(self, number):
        frames = []
        for identifier in self.interned["callstacks"][number].frame_ids:
            frame = self.interned["frames"][identifier]
            name = path = build_id = None
            if frame.function_name_id:
                name = self.interned["function_names"][frame.function_name_id].str.decode()
            if frame.mapping_id:
                mapping = self.interned["mappings"][frame.mapping_id]
                path = "".join("/" + self.interned["mapping_paths"][part].str.decode()
                               for part in mapping.path_string_ids)
                if mapping.build_id:
                    build_id = self.interned["build_ids"][mapping.build_id].str.hex()
            source = None
            if frame.source_path_iid:
                source = self.interned["source_paths"][frame.source_path_iid].str.decode()
            frames.append((name, path, build_id, frame.rel_pc, source, frame.line_number or None))
        # Innermost first, as in the JSON.
        return tuple(reversed(frames))


def main():
    with open(sys.argv[1]) as file:
        report = json.load(file)
    trace = perfetto_trace_pb2.Trace()
    with open(sys.argv[2], "rb") as file:
        trace.ParseFromString(file.read())
    reader = Reader()
    for packet in trace.packet:
        reader.packet(packet)
    assert reader.ended and not reader.open
    expected = defaultdict(lambda: [0, 0, 0, 0])
    for row in report["rows"]:
        if not row["allocatedBlocks"]:
            continue
        stack = tuple((frame["function"], frame["module"], frame["buildID"], frame["offset"] - 1, frame["file"],
                       frame["line"]) if frame["module"] else
                      (frame_text(frame), None, None, max(0, (frame["offset"] or 0) - 1), None, None)
                      for frame in row["frames"])
        sums = (row["allocatedBytes"], row["bytes"] - row["allocatedBytes"], row["allocatedBlocks"],
                row["blocks"] - row["allocatedBlocks"])
        expected[stack] = [a + b for a, b in zip(expected[stack], sums)]
    found = dict(reader.allocations)
    assert found == dict(expected), [item for item in found.items() if expected.get(item[0]) != item[1]][:3]
    totals = report["totals"]
    assert sum(row[0] + row[1] for row in found.values()) == totals["liveBytes"]
    assert sum(row[2] + row[3] for row in found.values()) == totals["liveBlocks"]
    [of_report] = report["inputs"]
    assert reader.process.pid == of_report["pid"] and of_report["program"].endswith(reader.process.cmdline[0][-5:])
    for name, key in ("live bytes", "liveBytes"), ("live blocks", "liveBlocks"):
        points = reader.counters[name]
        assert points[-1][1] == totals[key] and points == sorted(points, key=lambda point: point[0])
    assert all(pid == of_report["pid"] and kilobytes > 0 for pid, kilobytes in reader.resident)
    assert [name for name, _, _ in reader.slices] == sys.argv[3:], reader.slices
    assert all(began <= ended for _, began, ended in reader.slices)
    print(f"compared {len(found)}")


main()
