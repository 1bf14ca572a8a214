"""The README does what it says: its code runs, its commands succeed, every recipe is in it."""

import csv
import json
import re
import shlex
from contextlib import chdir
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from baa_core.recipes import RECIPES
from page.examples import EXAMPLES, draw_example
from tests.e2e.command import run
from tests.unit.export.conftest import dicom_hand

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the README's commands expect to find: hand.png, hand.dcm, images/, table.csv, labels.csv, all drawn."""
    (tmp_path / "images").mkdir()
    (tmp_path / "hand.dcm").write_bytes(dicom_hand())
    rows = []
    for number, label in enumerate(list(EXAMPLES)[:2]):
        example, content = draw_example(label)
        (tmp_path / "images" / f"drawn{number}.png").write_bytes(content)
        (tmp_path / "hand.png").write_bytes(content)
        rows.append({"file": f"drawn{number}.png", "sex": example.sex, "bone_age_months": example.age_months})
    for name, columns in (("table.csv", ("file", "sex")), ("labels.csv", ("file", "sex", "bone_age_months"))):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return tmp_path


def test_the_python_lines_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    with chdir(folder):
        exec(code, {})
    assert re.fullmatch(r"\d+ months \(.*\)\n", capsys.readouterr().out)


def test_the_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which has the networks loaded already; `test_cli.py` starts one as a user does."""
    commands = [
        line for block in blocks("bash") for line in block.splitlines() if line.startswith("python -m baa_core")
    ]
    assert {shlex.split(command)[3] for command in commands} == {"assess", "batch", "evaluate"}
    monkeypatch.chdir(folder)
    for command in commands:
        done = run(*shlex.split(command)[3:])
        assert done.status == 0, f"{command}\n{done.errors}"
        if "--json" in command:
            assert json.loads(done.output)["status"] == "ok"
    for name in (
        "heatmap.png",
        "mask.png",
        "results.csv",
        "evaluation",
        "r.txt",
        "r.pdf",
        "r.json",
        "sr.dcm",
        "sc.dcm",
    ):
        assert (folder / name).exists(), f"no {name} was made"


def test_the_make_commands_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("bash")), flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_documented(name: str) -> None:
    assert f"`{name}`" in README
    assert name in (REPOSITORY / "weights" / "README.md").read_text(encoding="utf-8")


def pins_of(name: str) -> dict[str, str]:
    """Package to version of a requirements file, where it has one."""
    return dict(re.findall(r"^(\w[\w-]*)==(\S+)$", (REPOSITORY / name).read_text(), flags=re.MULTILINE))


def test_a_space_gets_pytorch_without_cuda() -> None:
    """Spaces install `pre-requirements.txt` first; its CPU wheels meet the pins of `requirements.txt`."""
    first, pins = pins_of("pre-requirements.txt"), pins_of("requirements.txt")
    assert first == {name: f"{pins[name]}+cpu" for name in ("torch", "torchvision")}
    for name, version in first.items():
        assert version in SpecifierSet(f"=={pins[name]}")
    index = "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert index in (REPOSITORY / "pre-requirements.txt").read_text()
    assert index in (REPOSITORY / "Dockerfile").read_text()


def test_the_front_matter_fits_what_is_installed() -> None:
    pins = pins_of("requirements.txt")
    assert f'sdk_version: "{pins["gradio"]}"' in README
    assert "app_file: app.py" in README
    assert (REPOSITORY / "app.py").is_file()


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    assert (REPOSITORY / path).exists()
