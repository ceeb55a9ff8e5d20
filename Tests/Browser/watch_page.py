"""The page of heapwatch, in a browser, held against `heapwatch verdict --format json` of the same recording.

usage: watch_page.py DIRECTORY    with watch.html and watch.json, of a machine on which a process called `grower` grows
"""
from checks import check, number, quiet, report, run, url


async def all_of_it(page):
    verdict = report("watch")
    for scheme, width in (("light", 1400), ("dark", 1400), ("light", 380)):
        await page.colours(scheme)
        await page.size(width, 900)
        await page.open(url("watch"))
        check(await page.evaluate("document.documentElement.scrollWidth") <= width, f"wider than {width}")
    await page.size(1400, 900)
    await page.open(url("watch"))
    check(number(await page.text("#growing-count")) == len(verdict["growing"]), "as many grow as the verdict says")
    shown = await page.evaluate("[...document.querySelectorAll('#growing-table tbody tr')].map(line => [line.querySelector('th').firstChild.textContent, line.children[1].textContent])")
    check([tuple(each) for each in shown] == [(each["name"], each["what"]) for each in verdict["growing"]], f"those that grow: {shown}")
    check(number(await page.text("#process-count")) == verdict["recording"]["processes"], "processes seen")
    load = verdict["load"]
    check(await page.text("#load-last") == f"{load['average']['last']:.2f}", "the load at the end")
    heads = await page.evaluate("[...document.querySelectorAll('#heads pre')].map(each => each.textContent)")
    check(len(heads) == 2 and all("load average: " in head and "Tasks: " in head and "MemTotal" in head for head in heads), f"top's head at both ends: {heads}")
    busiest = await page.evaluate("[...document.querySelectorAll('#busiest-table tbody tr')].map(line => line.children[1].textContent)")
    check([int(pid) for pid in busiest] == [each["pid"] for each in load["busiest"]], f"who used the processors: {busiest}")
    memory = verdict["memory"]
    classes = {**memory["applications"], **memory["kernel"]}
    rows = await page.evaluate("""(() => { const raw = JSON.parse(document.querySelector('#data').textContent); document.querySelector('#class-table .more')?.click();
        return [...document.querySelectorAll('#class-table tbody tr')].map(line => [raw.memory.classes.find(each => each.title === line.children[0].textContent).name, line.children[2].textContent]); })()""")
    last = {name: number(text) for name, text in rows}
    check(last.pop("free") == memory["free"] and last.pop("unexplained") == memory["unexplained"], "free and unexplained")
    check(last == classes, f"classes of memory: {last}")
    check(sum(classes.values()) + memory["free"] + memory["unexplained"] == memory["total"], "the classes are the total")
    pids = {each["pid"] for each in verdict["growing"] if each["pid"] is not None}
    check(await page.evaluate("document.querySelectorAll('#processes .series').length") > len(pids), "processes over one another")
    coloured = await page.evaluate("document.querySelectorAll('#processes .series:not(.line-quiet)').length")
    check(coloured >= 1 if pids else coloured == 0, f"{coloured} in colour, of {len(pids)}")
    before = await page.evaluate("document.querySelector('#processes svg').innerHTML")
    await page.evaluate("document.querySelector('[data-value=change]').click()")
    check(await page.evaluate("document.querySelector('#processes svg').innerHTML") != before and "from=change" in await page.evaluate("location.hash"), "change is another graph, and in the link")
    await page.evaluate("(() => { const f = document.querySelector('#filter'); f.value = 'grower'; f.dispatchEvent(new Event('input')); })()")
    names = await page.evaluate("[...document.querySelectorAll('#process-table tbody th')].map(each => each.firstChild.textContent)")
    commands = await page.evaluate("[...document.querySelectorAll('#process-table tbody th')].map(each => each.title)")
    check(names != [] and all("grower" in name or "grower" in command for name, command in zip(names, commands)), f"filtered: {names}")
    check(await page.evaluate("window.wasRun === undefined && document.images.length === 0 && document.scripts.length === 2"), "names stay text")
    nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    for node in nodes:
        if not node.get("ignored") and node.get("role", {}).get("value") in ("button", "searchbox", "combobox", "image", "img"):
            check(node.get("name", {}).get("value", "").strip() != "", f"a {node['role']['value']} without a name")
    quiet(page, "watch")


run("heapwatch's page", all_of_it)
