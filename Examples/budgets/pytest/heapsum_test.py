"""Budgets of memory by test, for pytest under heaprun.

    PYTHONMALLOC=malloc heaprun --quiet -o heap -- python3 -m pytest -p heapsum_test

A test with @pytest.mark.heap_budget("64K") fails if more bytes are live after it than before it. Without heaprun it is
a test like any other.
"""

import ctypes
import gc
import glob
import os
import subprocess

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "heap_budget(size): the live bytes that the test may leave behind, such as 64K")


def take_dump():
    """Writes a dump of this process, and returns its path; None if it is not recorded."""
    dump = getattr(ctypes.CDLL(None), "heapsum_dump", None)
    if dump is None:
        return None
    gc.collect()
    dump()
    pattern = os.path.join(glob.escape(os.environ.get("HEAPSUM_OUTPUT", ".")), f"*.{os.getpid()}.*.heap")
    return max(glob.glob(pattern), key=lambda path: int(path.rsplit(".", 2)[1]), default=None)


def excess(before, after, budget):
    """What heapsum says if the dump `after` has more live bytes than `before` and the budget; else None."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    check = subprocess.run(
        ["heapsum", "check", "--baseline", before, "--max-growth-bytes", str(budget), "--no-lines", "--top", "3",
         "--frames", "8", after],
        env=environment, capture_output=True, text=True, check=False,
    )
    if check.returncode != 0:
        return check.stdout + check.stderr  # the dumps stay: heapsum diff shows all
    for dump in before, after:
        os.unlink(dump)
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    budget = pyfuncitem.get_closest_marker("heap_budget")
    before = take_dump() if budget else None
    outcome = yield
    if before is None or outcome.excinfo is not None:
        return
    said = excess(before, take_dump(), budget.args[0])
    if said is not None:
        failure = pytest.fail.Exception(said, pytrace=False)
        if not hasattr(outcome, "force_exception"):  # pluggy before 1.1
            raise failure
        outcome.force_exception(failure)
