"""The map of pages in heapsum's page, in a browser, held against `heapsum pages --format json` of the same process.

usage: pages_page.py DIRECTORY    with the pages and reports that scripts/test-browser made
"""
from checks import check, number, quiet, report, run, url

MAP = "JSON.parse(document.getElementById('data').textContent).map"


async def column(page, name):
    return await page.evaluate(f"{MAP}.{name}")


async def sums(page):
    """All pages are in some cell, with what is on them."""
    told = report("pins")["pages"]
    await page.open(url("pins"))
    used, pages, pinned = await column(page, "used"), await column(page, "pages"), await column(page, "pinned")
    check(sum(pages) * 4096 == told["residentBytes"], f"{sum(pages)} pages, not {told['residentBytes'] / 4096}")
    check(sum(used) == told["liveBytes"] + told["overheadBytes"], f"{sum(used)} bytes are live")
    check(sum(pinned) == told["pinnedBytes"], f"{sum(pinned)} bytes are pinned")
    check(all(0 <= u <= p * 4096 for u, p in zip(used, pages)), "a cell holds no more than its pages")
    headings = await page.evaluate("[...document.querySelectorAll('.map-part h3')].map(each => each.textContent)")
    check(sum(number(each.split(" · ")[1]) for each in headings) == sum(pages), f"the parts: {headings}")
    check(any(each.startswith("main arena") for each in headings), f"the parts: {headings}")
    each = await column(page, "pagesPerCell")
    check(each > 1 and 1000 < len(pages) < 20000, f"{len(pages)} cells of {each} pages")
    # What each stack has on all cells is what it holds, with headers: no less than the report says.
    rows, bytes = await column(page, "row"), await column(page, "bytes")
    kept = next(row for row in report("pins")["rows"] if any(frame["function"] == "allocate_kept" for frame in row["frames"]))
    most = max(sum(b for r, b in zip(rows, bytes) if r == row) for row in set(rows))
    check(most >= kept["residentBytes"] or len(set(rows)) > 1, "the kept blocks are on cells")
    quiet(page, "pins")


async def choosing(page):
    await page.open(url("pins"))
    check(await page.evaluate("document.querySelector('#map-detail').childElementCount") == 0, "no cell is chosen")
    # Of a heap with holes nearly every cell has kept blocks, and nothing else.
    arena = (await page.evaluate(f"{MAP}.arenas")).index("main arena")
    canvas = f"canvas[data-arena='{arena}']"
    x, y, width, height = await page.bounds(canvas)
    before = await page.evaluate(f"document.querySelector(\"{canvas}\").toDataURL()")
    await page.click(x + 205, y + 25)
    await page.until("location.hash.includes('cell=')", "a click chooses a cell")
    check(await page.evaluate(f"document.querySelector(\"{canvas}\").toDataURL()") != before, "the cell is marked")
    cell = int(await page.evaluate("new URLSearchParams(location.hash.slice(1)).get('cell')"))
    text = await page.text("#map-detail")
    addresses, used = await column(page, "address"), await column(page, "used")
    check(hex(addresses[cell]) in text and f"{used[cell]:,}" in text, f"cell {cell}: {text}")
    check("allocate_kept" in text, f"whose they are: {text}")
    await page.evaluate("document.querySelector('.map-stacks button').click()")
    await page.until("!document.querySelector('#detail').hidden", "its stack is shown")
    row = int(await page.evaluate("document.querySelector('.map-stacks button').dataset.row"))
    check(await page.evaluate("new URLSearchParams(location.hash.slice(1)).get('row')") == str(row), "the row of the table")
    check("allocate_kept" in await page.text("#detail .frames"), f"its frames: {await page.text('#detail')}")
    link = await page.evaluate("location.href")
    await page.open(link)
    check(await page.text("#map-detail") == text, "a link shows the same")
    # By keyboard.
    await page.evaluate(f"document.querySelector(\"{canvas}\").focus()")
    await page.press("Home")
    await page.press("ArrowRight")
    await page.press("Enter")
    cells = [place for place, each in enumerate(await column(page, "arena")) if each == arena]
    await page.until(f"location.hash.includes('cell={cells[1]}')", "the second cell, by keyboard")
    await page.press("End")
    await page.press("Enter")
    await page.until(f"location.hash.includes('cell={cells[-1]}')", "the last one")
    await page.press("Escape")
    await page.until("document.querySelector('#map-detail').childElementCount === 0", "none")
    quiet(page, "choosing")


async def looks(page):
    await page.open(url("pins"))
    light = await page.evaluate("document.querySelector('.map-part canvas').toDataURL()")
    await page.evaluate("document.querySelector('#theme').click()")
    check(await page.evaluate("document.querySelector('.map-part canvas').toDataURL()") != light, "the map in dark colours")
    await page.evaluate("document.querySelector('#theme').click()")
    await page.size(420, 900)
    check(await page.evaluate("document.documentElement.scrollWidth") <= 420, "a narrow window")
    await page.size(1280, 900)
    for fragment in ("cell=999999999", "cell=-5", "cell=x"):
        await page.open(url("pins", fragment))
        check(await page.evaluate("document.querySelector('#map-detail').childElementCount") == 0, f"{fragment}: no cell")
        quiet(page, fragment)


async def ended(page):
    """Without a process: pages of live blocks; those of the end if they were stored."""
    await page.open(url("pins-killed"))
    check("is not known" in await page.text("#pages-help"), await page.text("#pages-help"))
    await page.open(url("pins-ended"))
    check("when the program ended" in await page.text("#pages-help"), await page.text("#pages-help"))
    told = report("pins-ended")["pages"]
    check(told["atEnd"] and sum(await column(page, "pages")) * 4096 == told["residentBytes"], "the pages of the end")
    # A log and a sum of images have no map.
    for name in ("both", "hostile", "diff"):
        await page.open(url(name))
        check(await page.evaluate("document.querySelector('#pages') === null"), f"{name}: no map")
        quiet(page, name)


run("heapsum's map of pages", sums, choosing, looks, ended)
