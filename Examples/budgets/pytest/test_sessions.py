import pytest

SESSIONS = []


def open_session():
    return ["session"] * 128_000


@pytest.mark.heap_budget("64K")
def test_that_gives_back():
    assert len(open_session()) == 128_000


@pytest.mark.heap_budget("64K")
def test_that_keeps():
    SESSIONS.append(open_session())
