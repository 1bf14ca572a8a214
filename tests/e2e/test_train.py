"""`python -m train` as a user runs it: it learns, resumes, and says what is wrong."""

import io
import json
import os
import re
import resource
import runpy
import shutil
import subprocess
import sys
import tarfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from baa_core.networks.build import build
from baa_core.phantom import draw_phantom
from baa_core.recipes.schema import Architecture
from train import fit_member
from train.__main__ import main
from train.reports.speed import measure_speed

REPOSITORY = Path(__file__).parents[2]


class Said(NamedTuple):
    """What a command wrote."""

    stdout: str
    stderr: str


def train(*arguments: str, expected: int = 0) -> Said:
    """`python -m train` with these arguments, in this process: its imports take longer than such a training."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            status = main(list(arguments))
        except SystemExit as ended:  # argparse: wrong usage
            status = int(ended.code or 0)
    assert status == expected, err.getvalue()[-2000:]
    return Said(out.getvalue(), err.getvalue())


@contextmanager
def files_of_at_most(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def drawn_data(tmp_path_factory):
    """Twenty drawn thumbnails with labels: enough to run, far too few to learn from."""
    folder = tmp_path_factory.mktemp("drawn")
    rows = []
    for i in range(20):
        months, sex = 30 + 9 * i, "female" if i % 2 else "male"
        pixels = draw_phantom(months, sex, seed=i, height_px=300).radiograph.pixels
        cv2.imwrite(str(folder / f"{i + 1}.png"), cv2.resize(np.uint8(pixels * 255), (100, 100)))
        rows.append(
            {"rsna_id": i + 1, "sex": sex, "bone_age_months": months, "split": "val" if i % 4 == 0 else "train"}
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def test_list_names_every_member_of_every_recipe():
    from baa_core.recipes import RECIPES

    text = train("--list").stdout
    for recipe in RECIPES.values():
        assert all(member.name in text for member in recipe.networks)


def test_wrong_usage_is_said_in_a_sentence(drawn_data):
    assert "Give one of" in train("nothing", expected=1).stderr
    assert "--images" in train("sex", expected=1).stderr
    cache, labels = str(drawn_data / "no_hands_yet"), str(drawn_data / "labels.csv")
    missing = train("sex", "--images", str(drawn_data), "--labels", labels, "--cache", cache, expected=1)
    assert "hand-store" in missing.stderr


def options_of(data: Path, folder: Path) -> list[str]:
    """A training of the first start network on drawn data, into a folder."""
    labels, run, cache = str(data / "labels.csv"), str(folder / "run"), str(folder / "cache")
    images = ["--images", str(data), "--labels", labels]
    return ["age_start", *images, "--device", "cpu", "--out", run, "--cache", cache]


def result_of(folder: Path) -> dict[str, Any]:
    """What the training wrote about itself."""
    found: dict[str, Any] = json.loads((folder / "run" / "result.json").read_text())
    return found


def test_a_killed_training_goes_on_from_its_last_checkpoint(drawn_data, tmp_path):
    common = options_of(drawn_data, tmp_path)
    command = [sys.executable, "-m", "train", *common, "--epochs", "1000"]
    last = tmp_path / "run" / "last.ckpt"
    running = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1.0)  # for the file to be whole
    finally:
        running.kill()
        running.wait()
    done = torch.load(last, map_location="cpu", weights_only=False)["epoch"] + 1
    minutes = []
    for epochs in (done + 1, done + 2):  # and one that came to its end goes on as well
        train(*common, "--epochs", str(epochs), "--resume")
        assert result_of(tmp_path)["epochs"] == epochs
        minutes.append(result_of(tmp_path)["minutes"])
    assert minutes[1] >= minutes[0]
    assert (tmp_path / "run" / "age_start.safetensors").stat().st_size < 10 * 2**20


def test_a_corrupt_picture_is_named(drawn_data, tmp_path):
    data = shutil.copytree(drawn_data, tmp_path / "data")
    (data / "7.png").write_bytes((data / "7.png").read_bytes()[:200])
    failed = train(*options_of(data, tmp_path), expected=1)
    assert "7.png" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_full_disk_is_said_in_a_sentence(drawn_data, tmp_path):
    """First the picture cache does not fit, then the checkpoint."""
    for most_bytes, what in ((200_000, "picture cache"), (2_000_000, "checkpoint")):
        with files_of_at_most(most_bytes):
            failed = train(*options_of(drawn_data, tmp_path), "--epochs", "1", expected=1)
        assert f"{what} could not be written" in failed.stderr
        assert "Traceback" not in failed.stderr


TWO_PROCESSES = """
import sys
from pathlib import Path
from baa_core.networks import torchvision_compat
import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset
from baa_core.recipes.schema import Architecture, Member, TrainingPlan
from baa_core.recipes.deeplasia import whole_frame
from train.fit import Options, run
from train.age_sex.tasks import AgeTask

if __name__ == "__main__":
    processes, out = int(sys.argv[1]), Path(sys.argv[2])
    L.seed_everything(1, verbose=False)
    plan = TrainingPlan(epochs=6, batch_size=16 // processes, learning_rate=1e-3)
    shape = Architecture("test_convnext", hidden=(16,), dropout=0.0)  # no batch statistics, no chance
    member = Member("small", shape, whole_frame(64), plan)
    pictures = TensorDataset(torch.randn(16, 1, 64, 64), torch.ones(16), 20.0 + 10 * torch.arange(16))
    loaders = [DataLoader(pictures, plan.batch_size, shuffle=shuffle) for shuffle in (True, False)]
    options = Options(images=(), labels=Path(), out=out, cache=Path(), device="cpu", devices=processes)
    run(AgeTask(member, None), *loaders, options)
"""


def test_two_processes_learn_what_one_does(tmp_path, monkeypatch):
    """Lightning's DDP over gloo, half the batch in each: the same weights as one process with the whole batch."""
    script = tmp_path / "two_processes.py"
    script.write_text(TWO_PROCESSES)
    one, two = tmp_path / "1", tmp_path / "2"
    monkeypatch.setattr(sys, "argv", [str(script), "1", str(one)])
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("default")
        runpy.run_path(str(script), run_name="__main__")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), "2", str(two)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "MEMBER: 2/2" in done.stderr
    weights = [load_file(out / "small.safetensors") for out in (one, two)]
    scores = [json.loads((out / "result.json").read_text())["best"] for out in (one, two)]
    started = build(Architecture("test_convnext", hidden=(16,), dropout=0.0)).state_dict()
    assert any((weights[0][name] - started[name]).abs().max() > 1e-2 for name in started)
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=2e-3)
    assert scores[1] == pytest.approx(scores[0], abs=0.05)


def test_speed_is_reported(drawn_data, tmp_path, monkeypatch):
    """Measured over a shorter time than the ten seconds that the command takes."""
    monkeypatch.setattr(fit_member, "measure_speed", partial(measure_speed, seconds=0.2))
    said = train(*options_of(drawn_data, tmp_path), "--speed").stdout
    assert re.search(r"age_start: loader \d+ images/s, step \d+ images/s on cpu", said)


@pytest.mark.slow
def test_half_a_minute_of_training_beats_predicting_the_mean(data_folder, tmp_path):
    labels = pd.read_csv(data_folder / "labels.csv").set_index("rsna_id")
    wanted = {"train": 112, "val": 36}
    with tarfile.open(data_folder / "rsna_100px-0.tar") as archive:
        for entry in archive:
            stem = Path(entry.name).stem
            split = labels.split.get(int(stem)) if stem.isdigit() else None
            if entry.isfile() and wanted.get(split, 0) > 0:
                wanted[split] -= 1
                content = archive.extractfile(entry)
                assert content is not None
                (tmp_path / Path(entry.name).name).write_bytes(content.read())
    used = labels.loc[[int(p.stem) for p in tmp_path.glob("*.png")]]
    held_out = used[used.split == "val"]
    mean_error = (held_out.bone_age_months - used[used.split == "train"].bone_age_months.mean()).abs().mean()
    (tmp_path / "labels.csv").write_bytes((data_folder / "labels.csv").read_bytes())
    train(*options_of(tmp_path, tmp_path), "--epochs", "2", "--batch-size", "16")
    assert result_of(tmp_path)["best"] < mean_error
