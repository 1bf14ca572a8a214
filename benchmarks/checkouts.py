"""What a change costs or saves: the same work in two checkouts of this repository, in turns.

    git worktree add ../before COMMIT
    python -m benchmarks.checkouts --before ../before

The work is one drawn hand: assess, assess with the heatmap, explain (by itself, and after an assessment, as on the
page), and compare by all recipes. Each checkout has a process of its own and works only while the other one waits, so
a busy machine slows both alike: trust the ratios, not the seconds. A ratio is the median over the turns, below 1 where
the change is faster. Passes of the landmark network and of Iglovikov's key point network are counted in each.

Both checkouts need their weights; the Python that runs this is used for both.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
WORK = ("assess", "assess with heatmap", "explain", "explain after assess", "compare")
SEX, AGE_MONTHS, HEIGHT_PX = "male", 120.0, 800
PASSES = "landmark passes"
# Where a network's pass begins, in this checkout and in former ones: module, class, method.
PASS_METHODS = (
    ("baa_core.networks.landmarks", "LandmarkNetwork", "heatmaps"),
    ("baa_core.networks.landmarks", "KeyPointNetwork", "forward"),
    ("baa_core.joints", "LandmarkNetwork", "shares"),
    ("baa_core.published", "KeyPointNetwork", "forward"),
)
EXPLAIN = (("baa_core.workflows.explain", "explain_estimate"), ("baa_core.inquiry", "examine"))
COMPARE = (("baa_core.workflows.compare", "compare"), ("baa_core.comparison", "compare"))


def first_of(*places: tuple[str, str]) -> Any:
    """What the first of these modules that this checkout has calls so."""
    for module, name in places:
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError:
            continue
    raise SystemExit(f"This checkout has none of {', '.join(module for module, _ in places)}.")


def count_passes() -> list[str]:
    """From now on, one entry for each pass of a network that places points."""
    seen: list[str] = []
    for module, owner, method in PASS_METHODS:
        try:
            network = getattr(importlib.import_module(module), owner)
        except (ModuleNotFoundError, AttributeError):
            continue
        run = getattr(network, method)

        def counted(self: Any, *given: Any, run: Callable[..., Any] = run, name: str = owner) -> Any:
            seen.append(name)
            return run(self, *given)

        setattr(network, method, counted)
    return seen


def works(method: str | None) -> dict[str, Callable[[], object]]:
    """Each piece of work by its name, in the checkout that this process runs in."""
    import baa_core
    from baa_core.phantom import draw_phantom, to_png

    content = to_png(draw_phantom(AGE_MONTHS, SEX, height_px=HEIGHT_PX).radiograph)
    patient = baa_core.Patient(SEX, AGE_MONTHS)
    assessor = baa_core.load_assessor()
    explain, compare = first_of(*EXPLAIN), first_of(*COMPARE)
    more = () if method is None else (method,)
    found: list[Any] = [assessor.find(content)] if hasattr(assessor, "find") else [content]
    shared = {"store": assessor.store} if hasattr(assessor, "store") else {}
    load = cache(partial(baa_core.load_assessor, **shared))
    return {
        "assess": lambda: assessor.assess(content, patient),
        "assess with heatmap": lambda: assessor.assess(content, patient, explain=True),
        "explain": lambda: explain(assessor, content, patient, *more),
        "explain after assess": lambda: explain(assessor, found[0], patient, *more),
        "compare": lambda: list(compare(content, patient, load=load)),
    }


def answer(method: str | None) -> None:
    """Do each piece of work that is named on standard input; say what it took on standard output."""
    said, sys.stdout = sys.stdout, sys.stderr
    seen = count_passes()
    todo = works(method)
    for line in sys.stdin:
        seen.clear()
        start = perf_counter()
        todo[line.strip()]()
        print(json.dumps({"seconds": perf_counter() - start, PASSES: len(seen)}), file=said, flush=True)


@contextmanager
def process(checkout: Path, script: Path, *options: str) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A script of this checkout at work in another one: a line of its input to the JSON object that it answers.

    Args:
        checkout: whose modules it imports.
        script: reads lines from standard input and answers each on standard output.
        options: its arguments.
    """
    with subprocess.Popen(
        [sys.executable, "-P", str(script.resolve()), *options],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:

        def ask(line: str) -> dict[str, Any]:
            print(line, file=running.stdin, flush=True)
            answer = running.stdout.readline() if running.stdout else ""
            if not answer:
                raise SystemExit(f"'{line}' failed in {checkout.name}: see above.")
            return dict(json.loads(answer))

        try:
            yield ask
        finally:
            running.terminate()


def weights_mb(checkout: Path) -> float:
    """All files that the manifest of a checkout lists, together."""
    folder = checkout / "weights"
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["weights"].values()
    return sum((folder / name).stat().st_size for name in {entry["file"] for entry in listed}) / 1e6


def measure(before: Path, after: Path, repeats: int, method: str | None, names: tuple[str, ...]) -> dict[str, Any]:
    """Each piece of work in both checkouts, in turns, after doing it once unwatched."""
    rows: dict[str, Any] = {}
    options = ("--answer", *(() if method is None else ("--method", method)))
    with process(before, Path(__file__), *options) as old, process(after, Path(__file__), *options) as new:
        for work in names:
            passes = [ask(work)[PASSES] for ask in (old, new)]
            pairs = []
            for turn in range(repeats):
                order = (old, new) if turn % 2 == 0 else (new, old)
                took = {ask: ask(work)["seconds"] for ask in order}
                pairs.append((took[old], took[new]))
            rows[work] = {
                "before_seconds": round(median(one for one, _ in pairs), 2),
                "after_seconds": round(median(other for _, other in pairs), 2),
                "ratio": round(median(other / one for one, other in pairs), 3),
                f"{PASSES} before": passes[0],
                f"{PASSES} after": passes[1],
            }
            print(f"{work}: {json.dumps(rows[work])}", file=sys.stderr)
    return {"weights_mb": [round(weights_mb(checkout), 1) for checkout in (before, after)], "work": rows}


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = ["| work | before s | after s | ratio | landmark passes |", "|---|---|---|---|---|"]
    for work, row in found["work"].items():
        passes = f"{row[f'{PASSES} before']} -> {row[f'{PASSES} after']}"
        lines.append(f"| {work} | {row['before_seconds']} | {row['after_seconds']} | {row['ratio']} | {passes} |")
    old, new = found["weights_mb"]
    return "\n".join([*lines, "", f"Weights: {old} MB before, {new} MB after."])


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, and say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkouts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--before", type=Path, metavar="DIR", help="the checkout to compare this one with")
    parser.add_argument("--after", type=Path, default=REPOSITORY, metavar="DIR", help="default: this one")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default: 5)")
    parser.add_argument("--method", help="of explain; default: each checkout's own default")
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK, metavar="NAME", help=f"of {', '.join(WORK)}")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.answer:
        answer(options.method)
        return
    if options.before is None or not (options.before / "baa_core").is_dir():
        parser.error("--before needs the folder of another checkout: git worktree add ../before COMMIT")
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    found = measure(
        options.before.resolve(), options.after.resolve(), options.repeats, options.method, tuple(options.work)
    )
    print(json.dumps(found) if options.json else table(found))


if __name__ == "__main__":
    main()
