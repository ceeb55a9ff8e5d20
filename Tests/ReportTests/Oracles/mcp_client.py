"""Speaks the Model Context Protocol with `heapsum mcp` as an agent's program does: one request, then its answer.

usage: mcp_client.py HEAPSUM DIRECTORY    a directory with images of one process
Prints "ok" after the last check.
"""

import json
import random
import subprocess
import sys

heapsum, directory = sys.argv[1:]
server = subprocess.Popen([heapsum, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def send(line):
    server.stdin.write(line + b"\n")
    server.stdin.flush()


def answer():
    line = server.stdout.readline()
    assert line.endswith(b"\n"), "the server ended"
    value = json.loads(line)
    assert value["jsonrpc"] == "2.0" and ("result" in value) != ("error" in value), value
    return value


def ask(method, parameters=None, number=[0]):
    number[0] += 1
    request = {"jsonrpc": "2.0", "id": number[0], "method": method}
    if parameters is not None:
        request["params"] = parameters
    send(json.dumps(request).encode())
    value = answer()
    assert value["id"] == number[0], value
    return value


def call(name, **arguments):
    result = ask("tools/call", {"name": name, "arguments": arguments})["result"]
    assert result["content"] and all(part["type"] == "text" for part in result["content"]), result
    return result["content"][0]["text"], result["isError"]


def refused(line, code):
    send(line)
    value = answer()
    assert value["error"]["code"] == code, (line[:80], value)
    return value


# The protocol.
told = ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t"}})["result"]
assert told["protocolVersion"] == "2025-06-18" and told["serverInfo"]["name"] == "heapsum" and "tools" in told["capabilities"]
assert ask("initialize", {"protocolVersion": "1999-01-01"})["result"]["protocolVersion"] == "2025-06-18"
send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
assert ask("ping")["result"] == {}
tools = {tool["name"]: tool for tool in ask("tools/list")["result"]["tools"]}
assert set(tools) == {"list", "summarise", "diff", "leaks", "holders", "tree"}
for tool in tools.values():
    assert tool["description"] and tool["inputSchema"]["type"] == "object", tool

# The tools, each by the command's own output.
text, is_error = call("summarise", target=directory)
assert not is_error and json.loads(text)["schema"] == "heapsum-ask/1"
own = subprocess.run([heapsum, "ask", directory], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
assert text == own
text, is_error = call("diff", old=directory, top=2)
assert not is_error and len(json.loads(text)["rows"]) <= 2 and len(json.loads(text)["moments"]) > 1, text
text, is_error = call("tree", target=directory)
assert not is_error and "calls, from the outermost inward" in text, text
text, is_error = call("list", directory=directory)
assert not is_error and len(json.loads(text)["images"]) > 1, text
assert json.loads(call("list")[0])["images"] is None
for name in "leaks", "holders", "summarise", "tree":
    text, is_error = call(name, target="4194303")
    assert is_error and "4194303: no such process" in text, text
text, is_error = call("leaks", target=directory + "/a.1.heap")
assert is_error and "a dump without a verdict" in text, text
text, is_error = call("summarise", target="--help")
assert is_error and "--help: " in text, text

# What is wrong gets an error, and the server goes on.
for arguments in (
    {}, {"target": 1.5}, {"target": ["a"]}, {"target": ""}, {"target": "-"}, {"target": "a\0b"}, {"target": "a" * 5000},
    {"target": "a", "more": "b"}, [], "a",
):
    assert ask("tools/call", {"name": "summarise", "arguments": arguments})["error"]["code"] == -32602, arguments
for top in 0, 101, -1, 1.5, "2", [], 1 << 70:
    assert ask("tools/call", {"name": "diff", "arguments": {"old": directory, "top": top}})["error"]["code"] == -32602
for parameters in {}, [], {"name": 3}, {"name": "rm"}, {"name": "list", "arguments": []}, None:
    assert ask("tools/call", parameters)["error"]["code"] == -32602, parameters
assert ask("resources/list")["error"]["code"] == -32601
refused(b"nonsense", -32700)
refused(b"\xff\xfe\x00", -32700)
refused(b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700)
refused(b"[" * 100_000, -32700)
refused(b"[]", -32600)
refused(b"3", -32600)
refused(b'{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600)["id"] == 7
refused(b'{"jsonrpc":"2.0","id":7}', -32600)
refused(b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600)
refused(b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600)
refused(b'{"jsonrpc":"2.0","id":1e300,"method":"ping"}', -32600)
refused(b" " * (3 << 20), -32600)
for silent in b"", b" \r", b'{"jsonrpc":"2.0","method":"x"}', b'{"jsonrpc":"2.0","id":1,"result":{}}':
    send(silent)
send(b'{"jsonrpc":"2.0","id":"a\\n\\u0001","method":"ping"}\r')
assert answer()["id"] == "a\n\x01"

# Lines damaged at random: each that is answered is answered by a message.
random.seed(5)
whole = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list", "arguments": {"x": 1}}})
for _ in range(300):
    line = bytearray(whole.encode())
    for _ in range(random.randrange(1, 6)):
        line[random.randrange(len(line))] = random.choice(b'{}[]",:0aex\\ \x7f\x01')
    send(bytes(line))
send(b'{"jsonrpc":"2.0","id":"last","method":"ping"}')
while answer().get("id") != "last":
    pass

server.stdin.close()
assert server.wait() == 0
print("ok")
