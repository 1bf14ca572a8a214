"""What one engine takes on this machine, in a process of its own: `python -m benchmarks` runs it for each of them.

    BAA_ENGINE=openvino python -m benchmarks.engines        one JSON object
    python -m benchmarks.engines --parts                    a table: CPU time of each part that OpenVINO computes
    python -m benchmarks.engines --parts --others           the same with torch.compile, which needs a C++ compiler, and
                                                            ONNX Runtime: `pip install onnxruntime onnx`

Every time is a median, on one drawn radiograph. `naive` in place of an engine's name is the same work the way a script
would do it: the same networks in plain eager PyTorch, one picture, one view and one sex at a time, heatmap included,
with an autograd that also keeps gradients of the weights.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch

from baa_core.estimation.ensemble import encode_sex
from baa_core.evaluation.batch import Batch, run_batch
from baa_core.explanation.heatmap import smooth_and_scale
from baa_core.hand.landmarks import place_landmarks
from baa_core.hand.segmentation import find_hand
from baa_core.io import read_radiograph
from baa_core.networks import engine
from baa_core.networks.tta import apply_tta, placed
from baa_core.networks.weights import load_network
from baa_core.phantom import draw_phantom
from baa_core.preprocessing.prepare import prepare
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.recipes.schema import Member, TestTimeAugmentation
from baa_core.types import SEXES, Patient
from baa_core.workflows.assess import Assessor, load_assessor
from baa_core.workflows.explain import explain_estimate

PATIENT = Patient(sex="male", chronological_age_months=120)
SPINNING = 4  # processes beside, on the busy machine
BATCH_TURNS = 5
FEW_ROWS, MANY_ROWS = 4, 28  # of two batches, whose difference leaves the start out


def draw_radiograph(folder: Path) -> Path:
    """A phantom of a usual size, written as a PNG."""
    phantom = draw_phantom(120.0, "male")
    path = folder / "phantom.png"
    path.write_bytes(bytes(cv2.imencode(".png", np.round(phantom.radiograph.pixels * 255).astype(np.uint8))[1]))
    return path


def seconds_of(work: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median seconds of some work, after doing it once unwatched.

    Args:
        clock: `time.process_time` for the processor time of all threads of this process.
    """
    work()
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return median(times)


@contextmanager
def busy_machine() -> Iterator[None]:
    """Four processes beside that never wait, until the end."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(SPINNING)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks that are loaded meanwhile compute on one core, as each of several processes of a batch does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_rss_mb() -> float:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Naive:
    """The same networks called plainly: default memory layout, one view and one sex at a time."""

    def __init__(self, assessor: Assessor) -> None:
        self.recipe = assessor.recipe
        self.networks = {
            member.name: load_network(member, assessor.store.folder).to(memory_format=torch.contiguous_format)
            for member in self.recipe.members_in_use
        }

    def assess(self, path: Path, heatmap: bool = True) -> float:
        """Months, by way of the same steps; the heatmap is made and thrown away."""
        radiograph = read_radiograph(path)
        redraw = self.recipe.redraw and self.networks[self.recipe.redraw.name]
        hand = find_hand(radiograph, self.networks[self.recipe.hand.name], self.recipe.hand.input, redraw)
        if self.recipe.landmarks is not None:
            member = self.recipe.landmarks
            hand = place_landmarks(radiograph, hand, member, self.networks[member.name])
        with torch.no_grad():
            for member in self.recipe.sex:
                for view, beside in self.views(radiograph, hand, member, member.views):
                    self.networks[member.name](view, **beside)
        months, heats = [], []
        for member in self.recipe.members:
            network = self.networks[member.name]
            with torch.no_grad():
                for view, beside in self.views(radiograph, hand, member, self.recipe.views):
                    months += [float(network(view, encode_sex([sex]), **beside)) for sex in SEXES]
            if not heatmap:
                continue
            gradients = []
            mirrored = TestTimeAugmentation(self.recipe.views.mirror)
            for number, (view, beside) in enumerate(self.views(radiograph, hand, member, mirrored)):
                view.requires_grad_()
                network.zero_grad()
                network(view, encode_sex(["male"]), **beside).sum().backward()
                gradient = view.grad if view.grad is not None else torch.zeros_like(view)
                gradients.append(gradient.flip(3) if number else gradient)
            heat = smooth_and_scale(torch.stack(gradients).mean(dim=0)[0, 0].abs().numpy())
            heats.append(prepare(radiograph, hand, member.input).to_radiograph_grid(heat))
        return float(np.mean(months))

    def views(
        self, radiograph: Any, hand: Any, member: Member, views: TestTimeAugmentation
    ) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        """The prepared picture in every view, one by one, and where its joints lie for a network that goes by them."""
        made = prepare(radiograph, hand, member.input)
        beside = placed(self.networks[member.name], made, views)
        pictures = apply_tta(torch.tensor(made.image), views).split(1)
        places = beside["places"].split(1) if beside else [None] * len(pictures)
        return [(v.clone(), {} if p is None else {"places": p}) for v, p in zip(pictures, places, strict=True)]


def batch_seconds(path: Path, folder: Path, rows: int, processes: int, recipe: str = DEFAULT_RECIPE) -> float:
    """Seconds of a batch of one radiograph many times over, networks loaded within."""
    table, results = folder / "table.csv", folder / f"results_{rows}_{processes}.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "sex"], *[[path.name, "male"]] * rows])
    results.unlink(missing_ok=True)
    start = time.perf_counter()
    done = run_batch(
        Batch(table, path.parent, results, recipe), partial(load_assessor, recipe), False, processes=processes
    )
    if done.assessed != rows:
        raise SystemExit("The drawn radiograph was refused: the figures would mean nothing.")
    return time.perf_counter() - start


def batch_images_per_second(path: Path, folder: Path, processes: int) -> float:
    """Rows a second of the `batch` command once it runs."""
    few, many = (batch_seconds(path, folder, processes * rows, processes) for rows in (FEW_ROWS, MANY_ROWS))
    return processes * (MANY_ROWS - FEW_ROWS) / (many - few)


def batch_speeds(path: Path, folder: Path) -> dict[str, float]:
    """Images a second by one process, by two, and by one on one core: medians of turns, since a shared host's speed
    changes within minutes."""
    found: dict[str, list[float]] = {"1": [], "2": [], "1 on one core": []}
    for _ in range(BATCH_TURNS):
        found["1"].append(batch_images_per_second(path, folder, 1))
        found["2"].append(batch_images_per_second(path, folder, 2))
        with one_thread():
            found["1 on one core"].append(batch_images_per_second(path, folder, 1))
    return {f"batch {processes}, images/s": median(speeds) for processes, speeds in found.items()}


def measure(repeats: int, naive: bool, folder: Path) -> dict[str, Any]:
    """Everything but the start of the page."""
    path = draw_radiograph(folder)
    assessor = load_assessor(DEFAULT_RECIPE)
    if naive:
        plain = Naive(assessor)
        works = {
            "assess": partial(plain.assess, path, heatmap=False),
            "assess with heatmap": partial(plain.assess, path),
        }
    else:
        works = {
            "assess": partial(assessor.assess, path, PATIENT),
            "assess with heatmap": partial(assessor.assess, path, PATIENT, explain=True),
        }
    found: dict[str, Any] = {}
    if not naive:
        found["assess with first heatmaps, s"] = seconds_of(works["assess with heatmap"], repeats)
        engine.make_gradients()  # as a batch does after some heatmaps, and the page never
    found |= {f"{name}, s": seconds_of(work, repeats) for name, work in works.items()}
    if not naive:
        found["stages"] = assessor.assess(path, PATIENT, explain=True).stage_seconds
        explain = partial(explain_estimate, assessor, assessor.find(path), PATIENT)
        found["explain, s"] = seconds_of(explain, 1)
        found["peak memory, MB"] = peak_rss_mb()
        found |= batch_speeds(path, folder)
    with busy_machine():
        found |= {f"{name} busy, s": seconds_of(work, max(3, repeats // 2)) for name, work in works.items()}
    return found


def compiled(method: Any, module: torch.nn.Module, given: Sequence[torch.Tensor]) -> Callable[[], object]:
    """A method compiled by `torch.compile` for these inputs."""
    run = torch.compile(engine._Method(method, module).eval(), dynamic=False)
    run(*given)
    return partial(run, *given)


def on_onnx_runtime(method: Any, module: torch.nn.Module, given: Sequence[torch.Tensor]) -> Callable[[], object]:
    """A method as a session of ONNX Runtime with one thread."""
    import onnxruntime

    written, names = io.BytesIO(), [f"given_{number}" for number in range(len(given))]
    alone = engine._Method(method, module).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the exporter by TorchScript needs no other package
        torch.onnx.export(alone, tuple(given), written, dynamo=False, opset_version=17, input_names=names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(written.getvalue(), options, providers=["CPUExecutionProvider"])
    values = {name: each.contiguous().numpy() for name, each in zip(names, given, strict=True)}
    return lambda: session.run(None, values)


MOST_APART = 0.01  # on average, of the mean size; single pixels differ where rounding decides what a clamp passes on
GRADIENT_WAYS = ("gradient, PyTorch", "gradient, OpenVINO", "making its graph")


def gradient_seconds(method: Any, module: torch.nn.Module, pictures: torch.Tensor, repeats: int) -> list[float]:
    """CPU seconds of a heatmap's pass through a part and back, in each of `GRADIENT_WAYS`."""
    seen = pictures.clone().requires_grad_()
    asked = torch.ones_like(method(module, pictures))
    start = time.process_time()
    graph = engine._gradient_of(method, module, pictures.shape)
    made = time.process_time() - start
    if graph is None:
        raise SystemExit(f"No graph of the gradient of {method.__qualname__} could be made.")

    def by_pytorch() -> torch.Tensor:
        (found,) = torch.autograd.grad(method(module, seen), seen, asked)
        return found

    with engine.in_pytorch():
        expected = by_pytorch()
        plainly = seconds_of(by_pytorch, repeats, time.process_time)
    apart = (graph((pictures, asked)) - expected).abs().mean() / expected.abs().mean()
    if not apart < MOST_APART:
        raise SystemExit(f"The gradient of {method.__qualname__} by its graph is {apart:.1%} off on average.")
    return [plainly, seconds_of(partial(graph, (pictures, asked)), repeats, time.process_time), made]


def parts(repeats: int, folder: Path, others: bool = False) -> str:
    """CPU milliseconds for each method on the engine, as an assessment calls it, and for its graph."""
    path = draw_radiograph(folder)
    calls: list[tuple[Callable[..., object], torch.nn.Module, Sequence[torch.Tensor]]] = []
    run = engine._Graphs.run

    def noted(graphs: engine._Graphs, method: Any, module: torch.nn.Module, given: Sequence[torch.Tensor]) -> Any:
        calls.append((method, module, [each.clone() for each in given]))
        return run(graphs, method, module, given)

    with mock.patch.dict(os.environ, BAA_ENGINE="openvino"), mock.patch.object(engine._Graphs, "run", noted):
        assessor = load_assessor(DEFAULT_RECIPE)
        assessor.assess(path, PATIENT)
    ways = ("PyTorch, plain layout", "PyTorch, channels last", "OpenVINO", "making its graph", *GRADIENT_WAYS)
    more = ("torch.compile", "compiling", "ONNX Runtime", "its session") if others else ()
    heatmaps_of = {member.name for member in assessor.recipe.members}
    lines = [f"| {' | '.join(('part', 'pictures', *ways, *more))} |", "|---" * (2 + len(ways) + len(more)) + "|"]
    for method, module, given in calls:
        name = next(m.name for m in assessor.recipe.members_in_use if module in [*assessor.network(m).modules()])
        plain, lasting = (
            [each.contiguous(memory_format=layout) for each in given]
            for layout in (torch.contiguous_format, torch.channels_last)
        )
        copy = engine.put_on_torch(deepcopy(module)).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        start = time.process_time()
        graph = engine._Graph(method, module, given)
        made = time.process_time() - start
        with torch.inference_mode():
            times = [
                seconds_of(partial(method, copy, *plain), repeats, time.process_time),
                seconds_of(partial(method, module, *lasting), repeats, time.process_time),
                seconds_of(partial(graph, given), repeats, time.process_time),
                made,
            ]
        times += gradient_seconds(method, module, lasting[0], repeats) if name in heatmaps_of else [math.nan] * 3
        with torch.inference_mode():
            for make, source, inputs in ((compiled, module, lasting), (on_onnx_runtime, copy, plain)) if others else ():
                start = time.process_time()
                run_it = make(method, source, inputs)
                taken = time.process_time() - start
                times += [seconds_of(run_it, repeats, time.process_time), taken]
        number, *_, side = given[0].shape
        cells = " | ".join("–" if math.isnan(seconds) else f"{1000 * seconds:.0f}" for seconds in times)
        lines.append(f"| {name}, {method.__name__} | {number} x {side} px | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the engine that BAA_ENGINE names; one JSON object on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--naive", action="store_true", help="plain eager PyTorch in place of an engine")
    parser.add_argument("--parts", action="store_true", help="CPU time of each part, as a table")
    parser.add_argument("--others", action="store_true", help="with --parts: torch.compile and ONNX Runtime too")
    parser.add_argument("--repeats", type=int, default=7, help="how often each thing is timed (default: 7)")
    options = parser.parse_args()
    if options.naive:
        os.environ["BAA_ENGINE"] = "torch"
    with tempfile.TemporaryDirectory() as name:
        if options.parts:
            torch.set_num_threads(1)
            print(parts(options.repeats, Path(name), options.others))
            return
        print(json.dumps(measure(options.repeats, options.naive, Path(name))))


if __name__ == "__main__":
    main()
