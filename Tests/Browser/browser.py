"""A headless Chromium with one page in it, driven by the DevTools protocol.

What the page asked the network for, and what it said on its console, is kept: a test that found what it looked for
still fails on either.
"""
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request

import websockets


class Page:
    def __init__(self, socket):
        self.socket = socket
        self.number = 0
        self.waiting = {}
        self.console = []
        self.requests = []
        self.events = []
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                self.waiting.pop(message["id"]).set_result(message)
                continue
            method, parameters = message["method"], message["params"]
            if method == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.console.append(details.get("exception", {}).get("description") or details["text"])
            elif method == "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(each.get("value", each.get("description"))) for each in parameters["args"]))
            elif method == "Log.entryAdded":
                self.console.append(parameters["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            elif method in ("Page.javascriptDialogOpening", "Page.loadEventFired"):
                self.events.append(method)

    async def call(self, method, **parameters):
        self.number += 1
        future = asyncio.get_running_loop().create_future()
        self.waiting[self.number] = future
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        answer = await asyncio.wait_for(future, 60)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def evaluate(self, expression):
        """The value of an expression; of a promise what it comes to."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails'].get('exception', {}).get('description')}")
        return result["result"].get("value")

    async def until(self, expression, what):
        """Waits until an expression is true: a page is late where a machine is busy, and that is no failure."""
        for _ in range(1200):
            if await self.evaluate(expression):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"never came true: {what}")

    async def open(self, url):
        # A blank page between: a new fragment alone would load nothing.
        await self.call("Page.navigate", url="about:blank")
        await self.until("location.href === 'about:blank'", "a blank page")
        self.console.clear()
        self.requests.clear()
        self.events.clear()
        await self.call("Page.navigate", url=url)
        await self.until("document.documentElement?.dataset.ready === 'true'", f"{url} is drawn")

    async def colours(self, scheme):
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def size(self, width, height):
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    async def press(self, key, code=0, text=None):
        name = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39, "End": 35, "Home": 36}
        shared = {"key": key, "code": key, "windowsVirtualKeyCode": name.get(key, code)}
        if key == "Enter":
            text = "\r"
        await self.call("Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text else {}))
        await self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    async def mouse(self, kind, x, y):
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="none" if kind == "mouseMoved" else "left", clickCount=0 if kind == "mouseMoved" else 1,
                        buttons=0 if kind == "mouseReleased" else 1)

    async def click(self, x, y):
        await self.mouse("mousePressed", x, y)
        await self.mouse("mouseReleased", x, y)

    async def bounds(self, selector):
        """Where an element is in the window, after it was brought there and stands still: x, y, width, height."""
        return await self.evaluate(f"""(async () => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{ block: 'center', behavior: 'instant' }});
            const place = () => {{ const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }};
            for (let last = '', still = 0; still < 3; last = String(place())) {{
                await new Promise(requestAnimationFrame);
                still = String(place()) === last ? still + 1 : 0;
            }}
            return place(); }})()""")

    async def text(self, selector):
        return await self.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent")


@contextlib.asynccontextmanager
async def browser():
    """A page of a browser of its own, which is gone after it."""
    profile = tempfile.mkdtemp(prefix="heapsum-browser-")
    # In a container there is no sandbox to be had as root; what is opened here was made here.
    arguments = ["chromium", "--headless=new", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking",
                 "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        place = os.path.join(profile, "DevToolsActivePort")
        for _ in range(1200):
            if os.path.exists(place) and "\n" in open(place).read():
                break
            if process.poll() is not None:
                raise RuntimeError(f"chromium ended with status {process.returncode}")
            await asyncio.sleep(0.05)
        port = open(place).read().split()[0]
        listing = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        target = next(each for each in listing if each["type"] == "page")
        async with websockets.connect(target["webSocketDebuggerUrl"], max_size=None) as socket:
            page = Page(socket)
            for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
                await page.call(f"{domain}.enable")
            await page.size(1400, 1000)
            yield page
            page.reader.cancel()
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)
