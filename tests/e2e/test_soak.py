"""Clients of every kind at once, hostile ones and some that hang up: the small mode of `python -m benchmarks.soak`."""

from pathlib import Path

import pytest

from benchmarks.soak import KINDS, growth, soak
from tests.e2e.served_page import serve


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="asks /proc for memory")
def test_clients_of_every_kind_at_once_get_the_single_runs_answers(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        outcome = soak(served.url, served.process.pid, clients=4, requests=20)
        assert outcome.wrong == []
        assert set(outcome.done) == set(KINDS)
        assert sum(outcome.done.values()) == 20
        assert served.process.poll() is None
        assert max(outcome.memory_mb) < 2500
        assert "Traceback" not in served.log.read_text()


def test_growth_compares_the_last_two_quarters() -> None:
    assert growth([100.0] * 40) == 1.0
    assert growth([100.0] * 30 + [110.0] * 10) == pytest.approx(1.1)
    assert growth([]) == 1.0
