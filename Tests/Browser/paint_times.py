"""When pages first paint, and when they are drawn, by the browser's own clock: medians.

usage: paint_times.py RUNS NAME FILE [NAME FILE…]
"""
import asyncio
import os
import statistics
import sys

from browser import browser


async def main():
    runs = int(sys.argv[1])
    for name, file in zip(sys.argv[2::2], sys.argv[3::2]):
        paints, drawn = [], []
        for _ in range(runs):
            # A browser of its own for each: what one has compiled or cached, the next must not use.
            async with browser() as page:
                await page.open("file://" + os.path.realpath(file))
                await page.until("performance.getEntriesByName('first-contentful-paint').length > 0", "a first paint")
                paints.append(await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
                drawn.append(await page.evaluate("performance.getEntriesByName('heapsum-drawn')[0]?.startTime"))
        known = [each for each in drawn if each is not None]
        print(f"{name:<34} {os.path.getsize(file):>9,} {statistics.median(paints):>14.0f} {statistics.median(known) if known else float('nan'):>9.0f}".replace("nan", "  –"))


asyncio.run(main())
