"""Time the whole way from a file to a report, on one drawn radiograph.

    python -m benchmarks             a table by stage
    python -m benchmarks --json      one object: naive_seconds, assess_seconds, assess_with_heatmap_seconds,
                                     batch_images_per_second, peak_rss_mb, start_seconds

Every time is a median. `naive_seconds` is the same work, heatmap included, the way a script
would do it: the same networks in plain eager PyTorch, one picture, one view and one sex at a
time, with an autograd that also keeps gradients of the weights.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from baa_core.estimation.ensemble import encode_sex
from baa_core.evaluation.batch import Batch, run_batch
from baa_core.explanation.heatmap import smooth_and_scale
from baa_core.hand.segmentation import find_hand
from baa_core.io import read_radiograph
from baa_core.networks.backbones import fold_norms
from baa_core.networks.tta import apply_tta
from baa_core.networks.weights import load_network
from baa_core.phantom import draw_phantom
from baa_core.preprocessing.prepare import prepare
from baa_core.recipes import DEFAULT_RECIPE, find_recipe
from baa_core.recipes.schema import Member, TestTimeAugmentation
from baa_core.types import SEXES, Patient
from baa_core.workflows.assess import Assessor, load_assessor

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENT = Patient(sex="male", chronological_age_months=120)
START_PATIENCE_SECONDS = 120.0
BATCH_ROWS = 8


def draw_radiograph(folder: Path) -> Path:
    """A phantom of a usual size, written as a PNG."""
    phantom = draw_phantom(120.0, "male")
    path = folder / "phantom.png"
    path.write_bytes(bytes(cv2.imencode(".png", np.round(phantom.radiograph.pixels * 255).astype(np.uint8))[1]))
    return path


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of some work, after doing it once unwatched."""
    work()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


class Naive:
    """The same networks called plainly: default memory layout, one view and one sex at a time."""

    def __init__(self, assessor: Assessor) -> None:
        self.recipe = assessor.recipe
        self.networks = {
            member.name: load_network(member, assessor.store.folder).to(memory_format=torch.contiguous_format)
            for member in self.recipe.members_in_use
        }

    def assess(self, path: Path) -> float:
        """Months, by way of the same steps; the heatmap is made and thrown away."""
        radiograph = read_radiograph(path)
        hand = find_hand(radiograph, self.networks[self.recipe.hand.name], self.recipe.hand.input)
        with torch.no_grad():
            for member in self.recipe.sex:
                for view in self.views(radiograph, hand, member, member.views):
                    self.networks[member.name](view)
        months, heats = [], []
        for member in self.recipe.members:
            network = self.networks[member.name]
            with torch.no_grad():
                for view in self.views(radiograph, hand, member, self.recipe.views):
                    months += [float(network(view, encode_sex([sex]))) for sex in SEXES]
            gradients = []
            for number, view in enumerate(
                self.views(radiograph, hand, member, TestTimeAugmentation(self.recipe.views.mirror))
            ):
                view.requires_grad_()
                network.zero_grad()
                network(view, encode_sex(["male"])).sum().backward()
                gradient = view.grad if view.grad is not None else torch.zeros_like(view)
                gradients.append(gradient.flip(3) if number else gradient)
            heat = smooth_and_scale(torch.stack(gradients).mean(dim=0)[0, 0].abs().numpy())
            heats.append(prepare(radiograph, hand, member.input).to_radiograph_grid(heat))
        return float(np.mean(months))

    def views(self, radiograph: Any, hand: Any, member: Member, views: TestTimeAugmentation) -> list[torch.Tensor]:
        """The prepared picture in every view, one by one."""
        image = torch.tensor(prepare(radiograph, hand, member.input).image)
        return [view.clone() for view in apply_tta(image, views).split(1)]


def batch_images_per_second(assessor: Assessor, path: Path, folder: Path, repeats: int) -> float:
    """Rows a second of the `batch` command, its networks already loaded."""
    table = folder / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "sex"], *[[path.name, "male"]] * BATCH_ROWS])
    rates = []
    for number in range(repeats):
        start = perf_counter()
        done = run_batch(
            Batch(table, path.parent, folder / f"results_{number}.csv", DEFAULT_RECIPE), lambda: assessor, False
        )
        if done.assessed != BATCH_ROWS:
            raise SystemExit("The drawn radiograph was refused: the figures would mean nothing.")
        rates.append(BATCH_ROWS / (perf_counter() - start))
    return median(rates)


def start_seconds() -> float:
    """From starting the page's process to its first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = perf_counter()
    page = subprocess.Popen(
        [sys.executable, "app.py", "--no-browser", "--port", str(port)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while perf_counter() - start < START_PATIENCE_SECONDS and page.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    if answer.status == 200:
                        return perf_counter() - start
            except (urllib.error.URLError, OSError):
                sleep(0.05)
        raise SystemExit("The page did not answer: try 'python app.py' to see why.")
    finally:
        page.terminate()
        try:
            page.wait(timeout=5)
        except subprocess.TimeoutExpired:
            page.kill()
            page.wait()


def peak_rss_mb() -> float:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def stage_table(assessor: Assessor, path: Path, repeats: int) -> dict[str, float]:
    """Median seconds of each stage of an assessment with its heatmap."""
    runs = [assessor.assess(path, PATIENT, explain=True).stage_seconds for _ in range(repeats)]
    return {stage: median(run[stage] for run in runs) for stage in runs[0]}


def measure(repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """The contract's figures, and the seconds by stage."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = draw_radiograph(folder)
        assessor = load_assessor(DEFAULT_RECIPE)
        figures = {
            "assess_seconds": seconds_of(lambda: assessor.assess(path, PATIENT), repeats),
            "assess_with_heatmap_seconds": seconds_of(lambda: assessor.assess(path, PATIENT, explain=True), repeats),
            "batch_images_per_second": batch_images_per_second(assessor, path, folder, max(3, repeats // 2)),
            "peak_rss_mb": peak_rss_mb(),
        }
        stages = stage_table(assessor, path, repeats)
        naive = Naive(assessor)
        figures["naive_seconds"] = seconds_of(lambda: naive.assess(path), repeats)
    figures["start_seconds"] = median(start_seconds() for _ in range(3))
    return {key: round(value, 4) for key, value in sorted(figures.items())}, stages


def fold_ratios(repeats: int) -> tuple[float, float]:
    """How many times faster the age network answers, and gives a gradient, with its norms folded: measured in turns."""
    member = find_recipe(DEFAULT_RECIPE).members[0]
    plain = load_network(member).requires_grad_(False)
    folded = fold_norms(copy.deepcopy(plain)).to(memory_format=torch.channels_last)
    image = torch.randn(2, 1, *member.input.shape).contiguous(memory_format=torch.channels_last)
    sexes, seconds = encode_sex(list(SEXES)), {}

    def answer(network: nn.Module) -> None:
        with torch.inference_mode():
            network(image, sexes)

    def gradient(network: nn.Module) -> None:
        network(image.clone().requires_grad_(), sexes).sum().backward()

    for work in (answer, gradient):
        for network in (plain, folded):
            seconds[work, network] = seconds_of(partial(work, network), repeats)
    first, second = (seconds[work, plain] / seconds[work, folded] for work in (answer, gradient))
    return first, second


def main() -> None:
    """Read the command line, measure, and say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time the assessor on this machine.")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--repeats", type=int, default=9, help="how often each thing is timed (default: 9)")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    figures, stages = measure(options.repeats)
    if options.json:
        print(json.dumps(figures))
        return
    machine = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{machine}, recipe {DEFAULT_RECIPE}\n")
    print("stage                      median ms")
    for stage, seconds in stages.items():
        print(f"{stage:<24} {seconds * 1000:>11.1f}")
    answer, gradient = fold_ratios(options.repeats)
    print(f"\nnorms folded into convolutions: answers {answer:.2f} times faster, gradients {gradient:.2f} times")
    print("\nfigure                        median")
    for name, value in figures.items():
        print(f"{name:<29} {value:.3f}")


if __name__ == "__main__":
    main()
