"""Rows of a batch on Ray Data actors, on this machine or a cluster (`batch --engine ray`); the rows of one process.

An optional extra: `pip install "ray[data]>=2.60,<3"`. Every node must see the images and weights under the same paths.
Ray starts actors that end anew and gives their rows out again.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import BoneAgeError, EngineMissing
from .pool import AssessesRows, NumberedRow

ROOT = Path(__file__).resolve().parents[2]
ROWS_AT_ONCE = 4  # that an actor takes; the results of so many are lost when it ends, and are made again


def assess_rows_on_ray(assess: AssessesRows, rows: Sequence[NumberedRow], workers: int) -> Iterator[dict[str, Any]]:
    """Each row's report or refusal as a dict, in order. Arguments as of `pool.assess_rows`.

    Raises:
        EngineMissing: Ray is not installed.
        BoneAgeError: an actor met one that is about no row in particular.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent to Ray's makers
    try:
        import pyarrow
        import ray
    except ImportError as missing:
        raise EngineMissing('Ray is not installed. Install it by: pip install "ray[data]>=2.60,<3"') from missing
    del pyarrow  # Ray Data needs it, and says so late
    # Without what was on the path here an actor may not find Ray, and is waited for without end.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    started = not ray.is_initialized()
    if started:
        ray.init(
            address=os.environ.get("RAY_ADDRESS") or "local",
            num_cpus=None if os.environ.get("RAY_ADDRESS") else workers,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}},
        )
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        start = pickle.dumps(assess)
        items = [{"row": json.dumps(row)} for row in rows]
        made = ray.data.from_items(items, override_num_blocks=max(1, len(items) // ROWS_AT_ONCE)).map_batches(
            _Assessing, fn_constructor_args=(start,), batch_size=ROWS_AT_ONCE, num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )  # fmt: skip
        for item in made.iter_rows():
            answer = json.loads(item["result"])
            if stopped := answer.get("stopped"):
                raise getattr(errors, stopped[0])(stopped[1])
            yield answer
    finally:
        if started:
            ray.shutdown()


class _Assessing:
    """An actor: one assessor, rows as JSON in, results as JSON out."""

    def __init__(self, start: bytes) -> None:
        self.assess: AssessesRows = pickle.loads(start)

    def __call__(self, table: dict[str, Any]) -> dict[str, Any]:
        return {"result": [json.dumps(self._answer(row)) for row in table["row"]]}

    def _answer(self, row: str) -> dict[str, Any]:
        """A row's report or refusal, or the error that ends the batch."""
        try:
            return self.assess(json.loads(row))
        except BoneAgeError as error:
            return {"stopped": [type(error).__name__, str(error)]}
