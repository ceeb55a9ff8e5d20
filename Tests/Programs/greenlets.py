# Allocates from greenlets that switch in the middle of their functions, as mixed.py does from all kinds of functions.
# It prints what Python itself says of each allocation.
import json
import os
import sys
import threading

import greenlet

import mixed
from mixed import kept, leaf, notes, recursive, size, without_lock

mixed.sizes = iter(range(100_000, 1_000_000, 16))


def switch():
    greenlet.getcurrent().parent.switch()


def deep(depth, body):
    if depth:
        deep(depth - 1, body)
    else:
        kept.append(bytearray(size()))
        body()
        kept.append(bytearray(size()))


def red():
    kept.append(bytearray(size()))
    deep(1, switch)
    kept.append(bytearray(size()))


def green():
    for depth in (0, 9, 3):
        kept.append(bytearray(size()))
        deep(depth, switch)


def through_c():
    return sorted([2, 1], key=lambda each: (deep(2, switch), each)[1])


def switching_generator():
    for _ in range(3):
        kept.append(bytearray(size()))
        switch()
        kept.append(bytearray(size()))
        yield


def generators():
    for _ in switching_generator():
        kept.append(bytearray(size()))


class Awaitable:
    def __await__(self):
        switch()
        kept.append(bytearray(size()))
        yield
        kept.append(bytearray(size()))


async def coroutine():
    kept.append(bytearray(size()))
    await Awaitable()
    kept.append(bytearray(size()))


def coroutines():
    one = coroutine()
    one.send(None)
    switch()
    try:
        one.send(None)
    except StopIteration:
        kept.append(bytearray(size()))


def raises():
    try:
        switch()
    except KeyError:
        kept.append(bytearray(size()))
        deep(3, switch)
    finally:
        kept.append(bytearray(size()))


def locks():
    without_lock()
    switch()
    without_lock()
    recursive(4)


def parent():
    child = greenlet.greenlet(green)
    while not child.dead:
        kept.append(bytearray(size()))
        child.switch()
        kept.append(bytearray(size()))
        switch()


class Ring:
    """Each goes on to the next one, not to its parent."""

    def __init__(self):
        self.all = [greenlet.greenlet(self.run) for _ in range(4)]

    def run(self, number, rounds):
        kept.append(bytearray(size()))
        for _ in range(rounds):
            deep(number * 2, lambda: self.all[(number + 1) % 4].switch((number + 1) % 4, rounds))
        kept.append(bytearray(size()))


class Own(greenlet.greenlet):
    def run(self):
        kept.append(bytearray(size()))
        switch()
        kept.append(bytearray(size()))


def from_depth(depth, body):
    """So that each time other functions, or other calls, lie where the greenlet was started."""
    return from_depth(depth - 1, body) if depth else body()


def by_sort(body):
    sorted([1], key=lambda _: body())


def run_all():
    made = [greenlet.greenlet(body) for body in (
        red, green, through_c, generators, coroutines, locks, parent)] + [Own()]
    for position, each in enumerate(made):
        from_depth(3 * position, each.switch)
    for depth in range(40):
        for each in made:
            if each.dead:
                continue
            (by_sort if depth % 3 == 0 else lambda body: from_depth(depth % 17, body))(each.switch)
            kept.append(bytearray(size()))
    assert all(each.dead for each in made)
    thrown = greenlet.greenlet(raises)
    thrown.switch()
    from_depth(20, lambda: thrown.throw(KeyError))
    thrown.switch()
    ring = Ring()
    from_depth(5, lambda: ring.all[0].switch(0, 3))
    leaf()


def main():
    run_all()
    greenlet.settrace(lambda event, arguments: kept.append(bytearray(size())))
    for body in (red, through_c):
        each = greenlet.greenlet(body)
        while not each.dead:
            each.switch()
    greenlet.settrace(None)
    threads = [threading.Thread(target=run_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    greenlet.greenlet(run_all).switch()


if __name__ == "__main__":
    main()
    json.dump(notes, sys.stdout)
    sys.stdout.flush()
    os._exit(0)
