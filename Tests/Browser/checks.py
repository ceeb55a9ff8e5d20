"""What the tests of all pages share: checks that are counted, the pages and reports that scripts/test-browser made, and
the loop over the tests.

The first argument is the directory with these pages and reports.
"""
import asyncio
import json
import os
import sys

from browser import browser

directory = os.path.realpath(sys.argv[1])
checks = 0


def check(is_so, what):
    global checks
    checks += 1
    if not is_so:
        raise AssertionError(what)


def url(name, fragment=""):
    return f"file://{directory}/{name}.html" + (f"#{fragment}" if fragment else "")


def report(name):
    with open(f"{directory}/{name}.json", encoding="utf-8") as file:
        return json.load(file)


def number(text):
    return int("".join(c for c in text if c.isdigit()) or 0) * (-1 if "−" in text or text.startswith("-") else 1)


def quiet(page, name):
    """No error, no dialog, and nothing asked of a network: of the page's own file alone."""
    check(page.console == [], f"{name}: the console says {page.console}")
    check("Page.javascriptDialogOpening" not in page.events, f"{name}: a dialog opened")
    others = [each for each in page.requests if not each.startswith(("file://" + directory, "data:"))]
    check(others == [] and len(page.requests) > 0, f"{name}: requests {others}")


async def choose(page, selector, value):
    await page.evaluate(f"""(() => {{ const e = document.querySelector('{selector}'); e.value = {json.dumps(value)};
        e.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()""")


def run(subject, *tests):
    """Runs the tests in one browser; the first that fails ends them, with status 1."""

    async def all_of_them():
        async with browser() as page:
            for test in tests:
                before = checks
                try:
                    await test(page)
                except (AssertionError, RuntimeError) as error:
                    print(f"✘ {test.__name__}: {error}")
                    sys.exit(1)
                print(f"✔ {test.__name__}: {checks - before} checks")
        print(f"✔ {subject}: {checks} checks")

    asyncio.run(all_of_them())
