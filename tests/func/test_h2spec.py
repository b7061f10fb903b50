"""HTTP/2 as h2spec --strict demands it, see h2spec_cases.py.

    H2SPEC_PORT=8443 pytest tests/func/test_h2spec.py     checks the table itself, against another server with TLS on 127.0.0.1
"""
import collections
import contextlib
import os

import pytest

import h2raw
from h2spec_cases import CASES, HOST, RAW


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    if "H2SPEC_PORT" in os.environ:
        yield int(os.environ["H2SPEC_PORT"])
        return
    from conftest import Cluster, SampleApp
    c = Cluster(tmp_path_factory.mktemp("h2spec"))
    with contextlib.closing(c), SampleApp(c.dir) as app:
        c.start("--docker-host", "none")
        c.run("route", "add", HOST, app.at)
        yield c.https_port


def name(case):
    number = [c for c in CASES if c[:2] == case[:2]].index(case) + 1
    return f"{case[0]}/{case[1]}/{number}: {case[2]}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_case(port, case):
    _, _, _, steps, expect = case
    with h2raw.connect(port, HOST) as c:
        if steps[0] is RAW:
            steps = steps[1:]
        else:
            c.handshake()
        waiting = []
        for step in steps:
            if isinstance(step, bytes):
                waiting.append(step)
                continue
            c.send(*waiting)
            made = step(c)
            waiting = [made] if made else []
        c.send(*waiting)
        expect(c)


def test_no_case_is_missing():
    """As many as h2spec 2.6 has, section by section."""
    have = collections.Counter(f"{group}/{section}" for group, section, *_ in CASES)
    want = {"generic": {"1": 1, "2": 5, "3.1": 3, "3.2": 3, "3.3": 5, "3.4": 1, "3.5": 1, "3.7": 1, "3.8": 1, "3.9": 2, "3.10": 2, "4": 4, "5": 15},
            "http2": {"3.5": 2, "4.1": 3, "4.2": 3, "4.3": 3, "5.1": 13, "5.1.1": 2, "5.1.2": 1, "5.3.1": 2, "5.4.1": 2, "5.5": 2, "6.1": 3,
                      "6.2": 4, "6.3": 2, "6.4": 3, "6.5": 3, "6.5.2": 5, "6.5.3": 2, "6.7": 4, "6.8": 1, "6.9": 3, "6.9.1": 3, "6.9.2": 3,
                      "6.10": 6, "7": 2, "8.1": 1, "8.1.2": 1, "8.1.2.1": 4, "8.1.2.2": 2, "8.1.2.3": 7, "8.1.2.6": 2, "8.2": 1},
            "hpack": {"2.3.3": 2, "4.2": 1, "5.2": 3, "6.1": 1, "6.3": 1}}
    assert have == {f"{group}/{section}": n for group, sections in want.items() for section, n in sections.items()}
