"""The page of dumps with a verdict, in a browser, held against `heapsum --format json` and `heapsum leaks` of the same.

usage: verdict_page.py DIRECTORY    with the pages and reports that scripts/test-browser made
"""
import collections
import json

from checks import check, choose, number, quiet, report, run, url
from heap_page import count, function, outline

KINDS = ("definite", "indirect", "possible", "reachable")
LOST = KINDS[:3]


def of_kinds(row, kinds, what="bytes"):
    return sum(row["verdicts"][kind][what] for kind in kinds)


async def sums(page):
    for name in ("cases", "growing"):
        await page.open(url(name))
        for kind, amount in report(f"{name}-leaks")["verdicts"].items():
            check(number(await page.text(f"#total-{kind}")) == amount["bytes"], f"{name}: {kind}: {await page.text(f'#total-{kind}')}, not {amount}")
        check(await page.text("#total-unknown") is None, f"{name}: no block is without a verdict")
        quiet(page, name)
    check(sum(report("cases-leaks")["verdicts"][kind]["blocks"] > 0 for kind in KINDS) == 4, "a program with blocks of all four")
    # A page without a verdict says nothing of any.
    await page.open(url("pool"))
    check(await page.evaluate("document.querySelectorAll('#verdict-totals, #verdict, #holders, .verdicts').length") == 0, "no verdict, no words of one")
    check(not await page.evaluate("document.querySelector('#graph').innerText.includes('Colour')"), "and no choice of colours")


async def filters(page):
    """Each choice against the rows' parts: stacks, sums, and the calls of the outline."""
    rows = report("cases")["rows"]
    await page.open(url("cases"))
    offered = await page.evaluate("[...document.querySelector('#verdict').options].map(each => each.value)")
    check(offered == ["", "lost", *KINDS], f"what is offered: {offered}")
    for choice, kinds in (("lost", LOST), *((kind, (kind,)) for kind in KINDS), ("", KINDS)):
        await choose(page, "#verdict", choice)
        for measure in ("bytes", "blocks"):
            await choose(page, "#measure", measure)
            held = [row for row in rows if of_kinds(row, kinds, measure) > 0]
            wanted = (len(held), sum(of_kinds(row, kinds, measure) for row in held))
            check(await count(page) == wanted, f"{choice or 'all'}, {measure}: {await page.text('#count')}, not {wanted}")
    await page.open(url("cases", "verdict=lost&show=outline"))
    calls = collections.Counter()
    for row in rows:
        path = ()
        for frame in reversed(row["frames"]):
            path += (function(frame) or "?",)
            calls[path] += of_kinds(row, LOST)
    found = await outline(page)
    named = {path: value for path, value in calls.items() if value > 0 and "?" not in path}
    check(len(named) >= 3, f"calls with lost blocks: {named}")
    for path, value in named.items():
        check(found.get(path) == value, f"lost below {path}: {found.get(path)}, not {value}")
    # Other measures have no verdict: they are not to be had meanwhile.
    check(await page.evaluate("[...document.querySelector('#measure').options].filter(each => !each.disabled).map(each => each.value)") == ["bytes", "blocks"], "measures")
    quiet(page, "filters")
    # Chosen on the command line, the page has the same part alone.
    await page.open(url("chosen"))
    rows = [row for row in report("growing")["rows"] if of_kinds(row, ("definite",)) > 0]
    check(await count(page) == (len(rows), sum(of_kinds(row, ("definite",)) for row in rows)), f"--verdict definite: {await page.text('#count')}")
    check(await page.evaluate("[...document.querySelector('#verdict').options].map(each => each.value)") == ["", "definite"], "nothing else is offered")


async def order(page):
    await page.open(url("cases"))
    await page.evaluate("document.querySelector('[data-sort=verdict]').click()")
    shown = await page.evaluate("[...document.querySelectorAll('.stacks .verdicts')].map(each => each.textContent)")
    rank = [min(KINDS.index(kind) for kind in KINDS if kind in text) for text in shown]
    check(rank == sorted(rank) and set(rank) == {0, 1, 2, 3}, f"the worst first: {shown}")
    await page.evaluate("document.querySelector('tr[data-place=\"0\"]').click()")
    rows = sorted((row for row in report("cases")["rows"] if row["verdict"] == "definite"), key=lambda row: -of_kinds(row, ("definite",)))
    figures = await page.text("#detail .figures")
    check(f"Definitely lost{rows[0]['verdicts']['definite']['bytes']:,} bytes" in figures, f"the stack says it: {figures}")
    details = []
    for place in range(len(shown)):
        await page.open(url("cases", f"sort=verdict&row={place}"))
        details.append(await page.text("#detail"))
    check(any("They drag along" in text for text in details), "and what it drags along")
    quiet(page, "order")


async def colours(page):
    """The colour of each verdict is in the picture, left to right from the worst, and is away where modules have theirs."""
    # Where in the first row of boxes, which stands for all, a colour begins; -1: nowhere.
    places = """(() => { const canvas = document.querySelector('#flame-canvas'), pens = [0, 1].map(() => document.createElement('canvas'))
            .map((copy, place) => Object.assign(copy, { width: place ? 1 : canvas.width }).getContext('2d', { willReadFrequently: true })), [pen, probe] = pens;
        pen.drawImage(canvas, 0, 0);
        const line = pen.getImageData(0, 4, canvas.width, 1).data;
        return %s.map(kind => { probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--verdict-' + kind).trim(); probe.fillRect(0, 0, 1, 1);
            const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
            for (let x = 0; x < canvas.width; x++) if (line[4 * x] === r && line[4 * x + 1] === g && line[4 * x + 2] === b) return x;
            return -1; }); })()""" % json.dumps(list(KINDS))
    for scheme in ("light", "dark"):
        await page.colours(scheme)
        await page.open(url("cases"))
        found = await page.evaluate(places)
        check(-1 not in found and found == sorted(found), f"{scheme}: the colours of {KINDS} begin at {found}")
        totals = report("cases-leaks")["verdicts"]
        width = await page.evaluate("document.querySelector('#flame-canvas').width")
        begin = totals["definite"]["bytes"] / sum(each["bytes"] for each in totals.values()) * width
        check(abs(found[1] - begin) < 3, f"{scheme}: definite is {found[1]} wide, not {begin}")
        legend = await page.text("#graph .legend")
        check(all(word in legend for word in ("definitely lost", "indirectly lost", "possibly lost", "reachable")), f"the legend: {legend}")
        await page.evaluate("document.querySelector('[data-value=module]').click()")
        check(set(await page.evaluate(places)) == {-1}, f"{scheme}: modules have colours of their own")
        quiet(page, f"colours, {scheme}")
    await page.colours("light")
    # What the tooltip says of all.
    await page.open(url("cases"))
    x, y, width, _ = await page.bounds("#flame-canvas")
    await page.mouse("mouseMoved", x + width / 2, y + 8)
    await page.until("document.querySelector('.tooltip:not([hidden])') !== null", "a tooltip")
    text = await page.text(".tooltip")
    check(f"Definitely lost{totals['definite']['bytes']:,} (" in text, f"the tooltip: {text}")


async def holders(page):
    """Each line that `heapsum leaks --holders` prints, where it hangs from, and what it keeps."""
    lines = report("growing-leaks")["holders"]
    await page.open(url("growing"))
    shown = await page.evaluate("""(async () => {
        for (let closed; (closed = document.querySelector('#holder-outline [aria-expanded=false]'));) closed.querySelector('.outline-row').click();
        return [...document.querySelectorAll('#holder-outline [role=treeitem]')].map(item => [Number(item.getAttribute('aria-level')) - 2,
            item.querySelector('.name').textContent, item.querySelector('.number').textContent, item.querySelector('.module').textContent]); })()""")
    check(number(shown[0][2]) == report("growing-leaks")["verdicts"]["reachable"]["bytes"], "all that is reachable")
    found, path = {}, []
    for depth, name, value, blocks in shown[1:]:
        path[depth:] = [name]
        found[tuple(path)] = (number(value), number(blocks))
    check(len(lines) >= 4, "lines to hold against")
    path = []
    for line in lines:
        own = f"{line['blocks']:,} block{'s' if line['blocks'] > 1 else ''} of " if line["blocks"] else ""
        path[line["depth"]:] = [("several roots → " if line["severalRoots"] else "") + own + line["holder"]]
        wanted = (line["keptBytes"], line["keptBlocks"])
        check(found.get(tuple(path)) == wanted, f"{path}: {found.get(tuple(path))}, not {wanted}")
    quiet(page, "holders")
    # As a graph: a click zooms, the way back is there, and a link shows the same.
    await page.evaluate("document.querySelector('#holders [data-value=graph]').click()")
    x, y, width, _ = await page.bounds("#holder-canvas")
    await page.click(x + 20, y + 1.5 * 22)
    await page.until("location.hash.includes('holder=')", "a click zooms")
    crumbs = await page.evaluate("[...document.querySelectorAll('#holders .crumbs li')].map(each => each.textContent)")
    check(crumbs == ["all that is reachable", lines[0]["holder"]], f"the way there: {crumbs}")
    fragment = await page.evaluate("location.hash.slice(1)")
    await page.open(url("growing", fragment))
    check(await page.evaluate("[...document.querySelectorAll('#holders .crumbs li')].map(each => each.textContent)") == crumbs, "a link shows the same")
    pixels = "document.querySelector('#holder-canvas').toDataURL()"
    before = await page.evaluate(pixels)
    await page.open(url("growing", fragment + "&search=no+such+holder"))
    check(await page.evaluate(pixels) != before, "what a search doesn't find is faint")
    quiet(page, "holders as a graph")


async def several(page):
    """Of several processes each is above its roots; what one of them doesn't say is said to be missing."""
    await page.open(url("both"))
    for kind in KINDS:
        wanted = sum(report(f"{name}-leaks")["verdicts"][kind]["bytes"] for name in ("cases", "growing"))
        check(number(await page.text(f"#total-{kind}")) == wanted, f"both: {kind}")
    tops = await page.evaluate("[...document.querySelectorAll('#holder-outline [aria-level=\"2\"] > .outline-row .name')].map(each => each.textContent.split(' ')[0])")
    check(sorted(tops) == ["cases", "growing"], f"the processes: {tops}")
    await page.open(url("mixed"))
    growing = report("growing")["totals"]
    check(number(await page.text("#total-unknown")) >= growing["liveBytes"], f"without a verdict: {await page.text('#total-unknown')}")
    await choose(page, "#verdict", "definite")
    check((await count(page))[1] == report("cases-leaks")["verdicts"]["definite"]["bytes"], "of the other its own")
    quiet(page, "several")


async def links_and_keys(page):
    await page.open(url("cases", "verdict=definite&colour=module"))
    check(await page.evaluate("document.querySelector('#verdict').value") == "definite", "a link chooses the verdict")
    for nonsense in ("verdict=lots", "holder=99999", "holders=mobile", "colour=none", "verdict=%3Cb%3E"):
        await page.open(url("cases", nonsense))
        wanted = (len([row for row in report("cases")["rows"] if row["bytes"] > 0]), report("cases")["totals"]["liveBytes"])
        check(await count(page) == wanted, f"{nonsense}: {await page.text('#count')}")
        quiet(page, nonsense)
    # With other moments, growth is what is shown, and the verdict has nothing to say.
    await page.open(url("cases", "against=0&verdict=definite"))
    check(await page.evaluate("document.querySelector('#verdict').disabled"), "no verdict on growth")
    await page.open(url("cases"))
    reached = set()
    for _ in range(80):
        await page.press("Tab")
        reached.add(await page.evaluate("document.activeElement.id || document.activeElement.closest('#holder-outline, #holder-canvas')?.id || document.activeElement.dataset.value || ''"))
    for wanted in ("verdict", "module", "holder-outline"):
        check(wanted in reached, f"Tab never came to {wanted}: {reached}")
    nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    names = {(node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in nodes if not node.get("ignored")}
    for wanted in (("combobox", "Verdict"), ("tree", "Holders, by what they keep"), ("heading", "Who holds what is reachable")):
        check(wanted in names, f"no {wanted} in the accessibility tree")
    for width in (360, 768):
        await page.size(width, 800)
        await page.open(url("growing", "row=0"))
        wide = await page.evaluate("document.documentElement.scrollWidth")
        check(wide <= width, f"at {width} pixels the page is {wide} wide")
    await page.size(1400, 1000)
    quiet(page, "links and keys")


run("heapsum's page of a verdict", sums, filters, order, colours, holders, several, links_and_keys)
