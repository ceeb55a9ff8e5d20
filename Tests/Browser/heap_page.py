"""The page of heapsum, in a browser, held against `heapsum --format json` of the same image.

usage: heap_page.py DIRECTORY    with the pages and reports that scripts/test-browser made
"""
import collections
import json

from checks import check, choose, number, quiet, report, run, url


async def count(page):
    """What stands over the table: stacks, and their sum."""
    parts = (await page.text("#count")).split(" · ")
    return number(parts[0].split(" of ")[0]), number(parts[1])


def function(frame):
    return frame["function"]


async def outline(page):
    """The outline as it is shown, all of it opened: for each path of names below its root the number on its line."""
    shown = await page.evaluate("""(async () => {
        for (let closed; (closed = document.querySelector('#outline [aria-expanded=false]'));) closed.querySelector('.outline-row').click();
        return [...document.querySelectorAll('#outline [role=treeitem]')].map(item => [Number(item.getAttribute('aria-level')),
            item.querySelector('.name').textContent, item.querySelector('.number').textContent]); })()""")
    path, found = [], {}
    for level, name, value in shown:
        path[level - 1:] = [name]
        if level > 1:
            found[tuple(path[1:])] = number(value)
    return found


async def totals_and_measures(page):
    await page.open(url("pool"))
    totals, rows = report("pool")["totals"], report("pool")["rows"]
    for place, key in (("bytes", "liveBytes"), ("blocks", "liveBlocks"), ("peak", "peakBytes"), ("allocated", "allocatedBytes"), ("stacks", "uniqueStacks")):
        check(number(await page.text(f"#total-{place}")) == totals[key], f"total {key}")
    for measure in ("bytes", "blocks", "peakBytes", "allocatedBytes", "allocatedBlocks", "temporaryBlocks"):
        await choose(page, "#measure", measure)
        held = [row for row in rows if row[measure] > 0]
        check(await count(page) == (len(held), sum(row[measure] for row in held)), f"{measure}: {await page.text('#count')}, not {len(held)} stacks")
    await choose(page, "#measure", "bytes")
    first = max(rows, key=lambda row: row["bytes"])
    check(number(await page.text("tr[data-place='0'] td")) == first["bytes"], "the largest comes first")
    quiet(page, "pool")


async def outline_is_the_tree(page):
    """Every call of the outline, both ways, against the sums over the report's rows."""
    rows = report("pool")["rows"]
    for view in ("down", "up"):
        sums = collections.Counter()
        for row in rows:
            names = [function(frame) or "?" for frame in row["frames"]]
            path = ()
            for name in names if view == "up" else reversed(names):
                path += (name,)
                sums[path] += row["bytes"]
        await page.open(url("pool", f"show=outline&view={view}"))
        found = await outline(page)
        # Frames without a name are called by their module here, and not in the report.
        named = {path: value for path, value in sums.items() if value > 0 and "?" not in path}
        check(len(named) >= 8, f"{view}: the report has {len(named)} calls")
        for path, value in named.items():
            check(found.get(path) == value, f"{view}: {path}: {found.get(path)}, not {value}")
    quiet(page, "outline")


async def search_filters(page):
    await page.open(url("pool"))
    rows = [row for row in report("pool")["rows"] if row["bytes"] > 0]
    matching = [row for row in rows if any("take_connection" in (function(frame) or "") for frame in row["frames"])]
    check(0 < len(matching) < len(rows), "a search that some stacks match and some don't")
    await page.press("/", 191, "/")
    await page.until("document.activeElement?.id === 'search'", "a slash goes to the search")
    await page.call("Input.insertText", text="take_conn")
    await page.until("location.hash.includes('search=take_conn')", "the search is in the link")
    check(await count(page) == (len(matching), sum(row["bytes"] for row in matching)), "rows that match")
    check("% matched" in await page.text("#found"), "the share that matches")
    await page.evaluate("(() => { const s = document.querySelector('#search'); s.value = '/(/'; s.dispatchEvent(new Event('input')); })()")
    await page.until("document.querySelector('#found').textContent.startsWith('Not a regular expression')", "what is no expression is said to be none")
    await page.evaluate("(() => { const s = document.querySelector('#search'); s.value = 'no such function'; s.dispatchEvent(new Event('input')); })()")
    await page.until("document.querySelector('#scroller').classList.contains('is-empty')", "nothing found is said")
    quiet(page, "search")


async def sorts(page):
    await page.open(url("pool"))
    rows = [row for row in report("pool")["rows"] if row["bytes"] > 0]
    for clicks, order in ((1, lambda values: sorted(values, reverse=True)), (2, sorted)):
        await page.evaluate("document.querySelector('[data-sort=blocks]').click()")
        shown = await page.evaluate("""(() => { const heads = [...document.querySelectorAll('.stacks th')]; const place = heads.findIndex(h => h.querySelector('[data-sort=blocks]'));
            return [heads[place].getAttribute('aria-sort'), [...document.querySelectorAll('.stacks tr[data-place]')].map(line => line.children[place].textContent)]; })()""")
        check(shown[0] == ("descending" if clicks == 1 else "ascending"), f"aria-sort is {shown[0]}")
        check([number(each) for each in shown[1]] == order([row["blocks"] for row in rows]), f"sorted by blocks, {shown}")
    quiet(page, "sort")


async def zooms(page):
    await page.open(url("pool"))
    x, y, width, _ = await page.bounds("#flame-canvas")
    await page.click(x + width / 3, y + 5.5 * 22)
    await page.until("location.hash.includes('zoom=')", "a click zooms")
    crumbs = await page.evaluate("[...document.querySelectorAll('.crumbs li')].map(each => each.textContent)")
    rows = report("pool")["rows"]
    check(crumbs[-1] in ("main", "handle_request"), f"the way there: {crumbs}")
    check(crumbs[0] == "all" and any([function(frame) or "?" for frame in reversed(row["frames"])][:len(crumbs) - 1] == crumbs[1:] for row in rows), f"the way there: {crumbs}")
    rows = [row for row in rows if row["bytes"] > 0 and crumbs[-1] in [function(frame) for frame in row["frames"]]]
    check(await count(page) == (len(rows), sum(row["bytes"] for row in rows)), f"within {crumbs[-1]}")
    zoomed = await page.evaluate("location.hash")
    await page.evaluate("document.querySelector('.crumbs button').click()")
    check(await page.evaluate("!location.hash.includes('zoom=')"), "the way back")
    await page.evaluate("history.back()")
    await page.until(f"location.hash === {json.dumps(zoomed)}", "Back goes back")
    await page.until("document.querySelectorAll('.crumbs li').length > 1", "and shows it")
    # By the keyboard: to the graph, two calls inward, in, and out.
    await page.open(url("pool"))
    await page.evaluate("document.querySelector('#flame-canvas').focus()")
    for _ in range(2):
        await page.press("ArrowDown")
    said = await page.text("#announcer")
    check("% of all" in said, f"what the keyboard stands on is said: {said}")
    await page.press("Enter")
    await page.until("location.hash.includes('zoom=')", "Enter zooms")
    await page.press("Escape")
    await page.until("!location.hash.includes('zoom=')", "Escape zooms out")
    quiet(page, "zoom")


async def inverted(page):
    await page.open(url("pool"))
    pixels = "document.querySelector('#flame-canvas').toDataURL()"
    before = await page.evaluate(pixels)
    await page.evaluate("document.querySelector('[data-value=up]').click()")
    check(await page.evaluate("location.hash") == "#view=up", "inverted is in the link")
    check(await page.evaluate(pixels) != before, "inverted is another picture")
    quiet(page, "inverted")


async def state_round_trips(page):
    await page.open(url("pool"))
    await choose(page, "#measure", "blocks")
    await page.evaluate("document.querySelector('[data-value=up]').click()")
    await page.evaluate("document.querySelector('tr[data-place=\"1\"]').click()")
    await page.evaluate("(() => { const s = document.querySelector('#search'); s.value = 'connection'; s.dispatchEvent(new Event('input')); })()")
    await page.until("location.hash.includes('search=connection')", "the state is in the link")
    look = """JSON.stringify([document.querySelector('#measure').value, document.querySelector('#search').value, document.querySelector('#count').textContent,
        document.querySelector('#detail').textContent, document.querySelector('#flame-canvas').toDataURL(), [...document.querySelectorAll('[aria-pressed=true]')].map(e => e.textContent)])"""
    await page.evaluate("document.activeElement.blur()")
    here, link = await page.evaluate(look), await page.evaluate("location.href")
    await page.open(link)
    check(await page.evaluate(look) == here, "who opens the link sees the same")
    # What anyone may write behind the # is passed over where it makes no sense.
    await page.open(url("pool", "zoom=999999999&at=77&against=-5&row=123456&measure=constructor&view=__proto__&sort=%3Cimg%3E&search=%2F%5B%2F&width=x&show=y"))
    check((await count(page))[0] == 0, "a search that is no expression finds nothing")
    quiet(page, "a hostile link")


async def themes(page):
    background = "getComputedStyle(document.body).backgroundColor"
    pixels = "document.querySelector('#flame-canvas').toDataURL()"
    seen = []
    for scheme in ("light", "dark"):
        await page.colours(scheme)
        await page.open(url("pool"))
        seen.append((await page.evaluate(background), await page.evaluate(pixels)))
    check(seen[0][0] != seen[1][0] and seen[0][1] != seen[1][1], "dark and light differ")
    await page.evaluate("document.querySelector('#theme').click()")
    check(await page.evaluate(background) == seen[0][0] and await page.evaluate(pixels) == seen[0][1], "the switch goes to light")
    await page.evaluate("document.querySelector('#theme').click()")
    check(await page.evaluate(background) == seen[1][0], "and back")
    await page.colours("light")
    quiet(page, "themes")


async def brush(page):
    """A span that is dragged is widened to the moments around it, and shows what `heapsum diff` says grew."""
    growth = report("long-diff")
    moments = growth["moments"]
    check(len(moments) >= 3, f"{len(moments)} moments")
    await page.open(url("long"))
    options = await page.evaluate("document.querySelector('#at').options.length")
    check(options == len(moments) + 1, f"{options} moments, the start before the report's {len(moments)}")
    x, y, width, height = await page.bounds(".chart")
    start, end = await page.evaluate("""(() => { const marks = [...document.querySelector('.chart').querySelectorAll('.mark:not(.peak)')].map(m => m.getBoundingClientRect().x); return [marks[0], marks[1]]; })()""")
    await page.mouse("mousePressed", start + 4, y + 60)
    for step in range(1, 6):
        await page.mouse("mouseMoved", start + 4 + (end - start - 8) * step / 5, y + 60)
    await page.mouse("mouseReleased", end - 4, y + 60)
    await page.until("location.hash.includes('against=1')", "the span is in the link")
    check(await page.evaluate("[document.querySelector('#at').value, document.querySelector('#against').value].join()") == "2,1", "between the first two snapshots")
    changed = [row for row in growth["rows"] if row["bytesByMoment"][1] != row["bytesByMoment"][0]]
    check(changed != [], "something grew")
    shown, total = await count(page)
    check(total == sum(row["bytesByMoment"][1] - row["bytesByMoment"][0] for row in growth["rows"]) and shown >= len(changed), f"what grew: {await page.text('#count')}")
    await page.click(start + 4, y + 60)
    await page.until("!location.hash.includes('against')", "a click takes the span away")
    quiet(page, "brush")


async def marks(page):
    """What the program named stands on its timeline."""
    await page.open(url("marked"))
    # As Tests/Programs/marks.c has them; names are cut to 39 bytes.
    named = ["first", "second, with a name that is longer than the forty bytes that are kept"[:39]]
    await page.until("document.querySelector('.chart .mark.named') !== null", "the chart is drawn with marks")
    shown = await page.evaluate("[...document.querySelector('.chart').querySelectorAll('.mark.named title')].map(each => each.textContent)")
    check(shown == named, f"{shown} on the timeline, not {named}")
    check("2 marks" in await page.text("#time .legend"), "the legend says so")
    quiet(page, "marks")


async def differences(page):
    growth = report("diff")
    await page.open(url("diff"))
    check(number(await page.text("#total-bytes")) == growth["totals"]["liveBytes"], "live bytes after")
    check(number(await page.text("#total-before")) == growth["totals"]["bytesBefore"], "live bytes before")
    rows = [row for row in growth["rows"] if row["growthBytes"] != 0 or row["growthBlocks"] != 0]
    check(await count(page) == (len(rows), sum(row["growthBytes"] for row in rows)), f"growth: {await page.text('#count')}")
    check(number(await page.text("tr[data-place='0'] td")) == rows[0]["growthBytes"], "what grew the most comes first")
    pixels = "document.querySelector('#flame-canvas').toDataURL()"
    before = await page.evaluate(pixels)
    # The other way round is in the other colour.
    await page.open(url("diff", "at=0&against=1"))
    check(await page.evaluate(pixels) != before, "shrinking is another colour than growing")
    check((await count(page))[1] == -sum(row["growthBytes"] for row in rows), "and another sign")
    quiet(page, "diff")


async def names_stay_text(page):
    for name in ("hostile", "hostile-program"):
        await page.open(url(name, "show=outline"))
        await page.evaluate("document.querySelector('tr[data-place=\"0\"]')?.click()")
        for fragment in ("show=graph", "view=up&show=outline"):
            await page.evaluate(f"location.hash = '{fragment}'")
        x, y, width, _ = await page.bounds("header")
        text = await page.evaluate("document.body.innerText")
        if name == "hostile":
            check("<script>" in text and "onerror=" in text and "</script" in text, "the names are shown as they are")
        else:
            check("onerror=" in text, "the program's name is shown as it is")
        check(await page.evaluate("[document.images.length, document.scripts.length, document.querySelectorAll('b, i, iframe, base, form, [onerror]').length, window.wasRun].join()") == "0,2,0,",
              f"{name}: nothing of a name became an element")
        quiet(page, name)
    # And were one to: the page's own policy stops it.
    await page.open(url("hostile"))
    await page.evaluate("document.body.append(Object.assign(document.createElement('div'), { innerHTML: '<img src=x onerror=\"window.wasRun = 1\">' }))")
    await page.evaluate("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.wasRun = 2' }))")
    await page.evaluate("new Promise(done => setTimeout(done, 200))")
    check(await page.evaluate("window.wasRun === undefined"), "the policy stops scripts that are not the page's")
    check(any("Content Security Policy" in each for each in page.console), "and says so")


async def empty(page):
    for name in ("none", "filtered"):
        await page.open(url(name))
        check((await count(page))[0] == 0, f"{name}: {await page.text('#count')}")
        check("No stacks" in await page.text("#graph") or "nothing to draw" in await page.text("#graph"), f"{name}: an empty graph says why")
        quiet(page, name)


async def keyboard_and_names(page):
    """Tab comes by every control in turn; each has a role and a name; the grid and the tree say what they are."""
    await page.open(url("pool"))
    reached = set()
    for _ in range(80):
        await page.press("Tab")
        reached.add(await page.evaluate("(() => { const e = document.activeElement; return e.id || e.dataset.value || e.dataset.sort || e.dataset.place || e.className || e.tagName; })()"))
    for wanted in ("theme", "search", "measure", "down", "up", "graph", "outline", "flame-canvas", "bytes", "blocks", "0", "skip"):
        check(wanted in reached, f"Tab never came to {wanted}: {reached}")
    await page.evaluate("document.querySelector('tr[data-place=\"0\"]').focus()")
    await page.press("ArrowDown")
    check(await page.evaluate("document.activeElement.dataset.place") == "1", "arrows move in the table")
    await page.press("Enter")
    await page.until("!document.querySelector('#detail').hidden", "Enter opens the stack")
    await page.evaluate("document.querySelector('[data-value=outline]').click()")
    nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    interactive = {"button", "textbox", "searchbox", "combobox", "treeitem", "tree", "grid", "link", "image", "img", "navigation"}
    roles = collections.Counter()
    for node in nodes:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in interactive:
            continue
        roles[role] += 1
        check(node.get("name", {}).get("value", "").strip() != "", f"a {role} without a name: {node.get('properties')}")
    for role in ("button", "searchbox", "combobox", "tree", "treeitem", "grid"):
        check(roles[role] > 0, f"no {role} in the accessibility tree: {roles}")
    heads = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "heading" and not node.get("ignored")]
    for wanted in ("Timeline", "Flame graph", "Stacks", "Process"):
        check(wanted in heads, f"no heading {wanted}: {heads}")
    # The outline, by keys alone.
    await page.evaluate("document.querySelector('#outline [tabindex=\"0\"]').focus()")
    await page.press("ArrowDown")
    check(await page.evaluate("document.activeElement.getAttribute('aria-level')") == "2", "an arrow goes inward")
    await page.press("ArrowLeft")
    check(await page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false", "left closes")
    quiet(page, "keyboard")


async def narrow_and_paper(page):
    for width in (360, 768):
        await page.size(width, 800)
        await page.open(url("pool", "row=0"))
        wide = await page.evaluate("document.documentElement.scrollWidth")
        check(wide <= width, f"at {width} pixels the page is {wide} wide")
    await page.size(1400, 1000)
    await page.open(url("large"))
    await page.call("Emulation.setEmulatedMedia", media="print")
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    check(await page.evaluate("getComputedStyle(document.querySelector('#toolbar')).display") == "none", "no controls on paper")
    check(await page.evaluate("document.querySelectorAll('.stacks tr[data-place]').length") == 60, "paper has the first rows, whatever was in sight")
    await page.call("Emulation.setEmulatedMedia", media="")
    quiet(page, "paper")


async def large(page):
    """100,000 stacks: few elements, every row to be reached."""
    totals = report("large")["totals"]
    await page.open(url("large"))
    check(await count(page) == (totals["uniqueStacks"], totals["liveBytes"]), f"{await page.text('#count')}")
    check(await page.evaluate("document.querySelectorAll('*').length") < 3000, "elements for what is in sight alone")
    await page.evaluate("document.querySelector('tr[data-place=\"0\"]').focus()")
    await page.press("End")
    check(await page.evaluate("document.activeElement.getAttribute('aria-rowindex')") == str(totals["uniqueStacks"] + 1), "the last row is reached")
    await page.evaluate("document.querySelector('[data-value=up]').click()")
    check(number((await page.text("#count")).split(" · ")[1]) == totals["liveBytes"], "inverted holds the same")
    quiet(page, "large")


if __name__ == "__main__":
    run("heapsum's page", totals_and_measures, outline_is_the_tree, search_filters, sorts, zooms, inverted,
        state_round_trips, themes, brush, marks, differences, names_stay_text, empty, keyboard_and_names,
        narrow_and_paper, large)
