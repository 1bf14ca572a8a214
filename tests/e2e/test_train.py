"""`python -m train` as a user runs it: it learns, resumes, and says what is wrong."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from baa_core.phantom import draw_phantom

REPOSITORY = Path(__file__).parents[2]


def train(*arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-m", "train", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == expected, done.stderr[-2000:]
    return done


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
    assert "hand_store" in missing.stderr


def test_training_resumes_where_it_stopped(drawn_data, tmp_path):
    common = [
        "age_start",
        "--images",
        str(drawn_data),
        "--labels",
        str(drawn_data / "labels.csv"),
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
        "--cache",
        str(tmp_path / "cache"),
    ]
    train(*common, "--epochs", "1")
    first = json.loads((tmp_path / "run" / "result.json").read_text())
    train(*common, "--epochs", "3", "--resume")
    second = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (first["epochs"], second["epochs"]) == (1, 3)
    assert second["minutes"] >= first["minutes"]
    assert (tmp_path / "run" / "age_start.safetensors").stat().st_size < 10 * 2**20


@pytest.mark.slow
def test_a_minute_of_training_beats_predicting_the_mean(data_folder, tmp_path):
    labels = pd.read_csv(data_folder / "labels.csv").set_index("rsna_id")
    wanted = {"train": 1500, "val": 150}
    with tarfile.open(data_folder / "rsna_100px-0.tar") as archive:
        for entry in archive:
            stem = Path(entry.name).stem
            split = labels.split.get(int(stem)) if stem.isdigit() else None
            if entry.isfile() and wanted.get(split, 0) > 0:
                wanted[split] -= 1
                content = archive.extractfile(entry)
                assert content is not None
                (tmp_path / Path(entry.name).name).write_bytes(io.BytesIO(content.read()).getvalue())
    used = labels.loc[[int(p.stem) for p in tmp_path.glob("*.png")]]
    held_out = used[used.split == "val"]
    mean_error = (held_out.bone_age_months - used[used.split == "train"].bone_age_months.mean()).abs().mean()
    train(
        "age_start",
        "--images",
        str(tmp_path),
        "--labels",
        str(data_folder / "labels.csv"),
        "--minutes",
        "1.5",
        "--epochs",
        "100",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
        "--cache",
        str(tmp_path / "cache"),
    )
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["minutes"] < 2.5
    assert result["best"] < 0.95 * mean_error
