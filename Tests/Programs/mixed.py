# Allocates from all kinds of Python functions, a block of another size each time, and keeps it. It prints what Python
# itself says of each allocation: its bytes, and the functions with their lines, innermost first.
import asyncio
import ctypes
import functools
import json
import os
import re
import sys
import threading

libc = ctypes.CDLL(None)  # its functions are called without the interpreter's lock
libc.malloc.restype = ctypes.c_void_p
kept = []
notes = []
sizes = iter(range(100_000, 10_000_000, 1_000))


def size():
    bytes_ = next(sizes)
    frame = sys._getframe(1)
    frames = []
    while frame is not None:
        frames.append((frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    notes.append((bytes_, frames))
    return bytes_


def leaf():
    kept.append(bytearray(size()))


def without_lock():
    kept.append(libc.malloc(size()))


def recursive(depth):
    if depth == 0:
        leaf()
    else:
        recursive(depth - 1)


def mutual(depth):
    return sorted([depth], key=lambda each: mutual(each - 1) if each else leaf())


def generator():
    for _ in range(2):
        kept.append(bytearray(size()))
        yield
    kept.append(bytearray(size()))


def delegating():
    yield from generator()


class Thing:
    kept.append(bytearray(size()))

    def method(self):
        kept.append(bytearray(size()))

    def __init__(self):
        kept.append(bytearray(size()))

    def __del__(self):
        kept.append(bytearray(size()))

    def __getattr__(self, name):
        kept.append(bytearray(size()))
        return name

    @property
    def value(self):
        kept.append(bytearray(size()))

    @staticmethod
    def static():
        kept.append(bytearray(size()))

    def __enter__(self):
        kept.append(bytearray(size()))

    def __exit__(self, *_):
        kept.append(bytearray(size()))

    def größe(self):
        kept.append(bytearray(size()))


def decorated(function):
    @functools.wraps(function)
    def inner(*arguments):
        kept.append(bytearray(size()))
        return function(*arguments)

    return inner


@decorated
def wrapped():
    kept.append(bytearray(size()))


def raising():
    try:
        leaf()
        raise ValueError
    except ValueError:
        kept.append(bytearray(size()))
    finally:
        kept.append(bytearray(size()))


def thrown_into():
    try:
        yield
    except KeyError:
        kept.append(bytearray(size()))
        yield


def outer_of_thrown():
    yield from thrown_into()


async def sleeper():
    await asyncio.sleep(0)
    kept.append(bytearray(size()))
    await asyncio.gather(nested(), nested())
    async for _ in asynchronous_generator():
        kept.append(bytearray(size()))
    [kept.append(bytearray(size())) async for _ in asynchronous_generator()]
    async with AsynchronousContext():
        await asyncio.wait_for(nested(), 10)
    loop = asyncio.get_running_loop()
    loop.call_soon(leaf)
    await loop.run_in_executor(None, without_lock)
    await asyncio.to_thread(recursive, 2)


async def asynchronous_generator():
    for _ in range(2):
        kept.append(bytearray(size()))
        yield
        await asyncio.sleep(0)
    kept.append(bytearray(size()))


class AsynchronousContext:
    async def __aenter__(self):
        await nested()
        kept.append(bytearray(size()))

    async def __aexit__(self, *_):
        kept.append(bytearray(size()))
        await nested()


async def nested():
    await asyncio.sleep(0.001)
    kept.append(bytearray(size()))


def many_lines(
    first=1,
):
    kept.append(
        bytearray(size()))

    # a line far away












    kept.append(bytearray(size()))
    return [kept.append(bytearray(size())) for _ in range(2)]


def main():
    leaf()
    recursive(3)
    recursive(60)
    mutual(3)
    list(generator())
    list(delegating())
    next(map(lambda _: kept.append(bytearray(size())), [1]))
    functools.reduce(lambda a, _: kept.append(bytearray(size())), [1, 2, 3])
    re.sub("a", lambda _: (kept.append(bytearray(size())), "b")[1], "banana")
    json.dumps(object(), default=lambda _: kept.append(bytearray(size())))
    thing = Thing()
    thing.method()
    thing.absent
    thing.value
    thing.static()
    thing.größe()
    with thing:
        leaf()
    del thing
    wrapped()
    raising()
    stopped = outer_of_thrown()
    next(stopped)
    stopped.throw(KeyError())
    many_lines()
    exec("def made():\n\n    kept.append(bytearray(size()))\nmade()", globals())
    eval("kept.append(bytearray(size()))")
    for number in range(50):
        # The code of each is freed, and its address is used again.
        exec(compile(f"def made_{number}():\n{chr(10) * number}    kept.append(bytearray(size()))\nmade_{number}()",
                     f"<made {number}>", "exec"), globals())
        del globals()[f"made_{number}"]
    for number in range(60):
        # The same name, file, first line and instructions; only the line of the block moves.
        above, below = chr(10) * (number % 6), chr(10) * (6 - number % 6)
        exec(compile(f"def moved():\n{'    a = 0' + chr(10)}{above}    kept.append(bytearray(size()))\n{below}"
                     + "    a = 0\n" * 30 + "moved()", "<moved>", "exec"), globals())
        del globals()["moved"]
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(
        lambda *_: kept.append(bytearray(size())) or 0)
    libc.qsort((ctypes.c_int * 2)(2, 1), 2, 4, callback)
    without_lock()
    threads = [threading.Thread(target=recursive, args=(each,)) for each in range(4)]
    threads += [threading.Thread(target=without_lock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(sleeper())


if __name__ == "__main__":
    main()
    json.dump(notes, sys.stdout)
    sys.stdout.flush()
    os._exit(0)
