"""Fixtures for all tests: a tiny seeded recipe, the shipped assessor, and real pictures where there are any.

End-to-end tests run the shipped networks. Unit tests of the machinery run `tiny_recipe`: real
networks of the same classes, untrained, small enough to build in a blink.
"""

import csv
import gc
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from baa_core.estimation.calibration import Calibration, LinearBias
from baa_core.estimation.conformal import COVERAGE, Difficulty, IntervalModel
from baa_core.networks import engine, store
from baa_core.networks.build import build
from baa_core.networks.engine import engine_name
from baa_core.networks.hand import CompetitiveBlock, HandNetwork
from baa_core.networks.store import NetworkStore
from baa_core.networks.weights import Manifest, WeightsEntry, save_network, write_manifest
from baa_core.preprocessing.prepare import InputSpec
from baa_core.preprocessing.steps import (
    CropToHand,
    MaskBackground,
    PadSquare,
    Resize,
    Standardise,
    StretchContrast,
    Upright,
)
from baa_core.recipes.schema import Architecture, Member, Recipe, TrainingPlan
from baa_core.types import HandMask, MeasuredError, Radiograph
from baa_core.workflows.assess import Assessor, load_assessor
from tests.fewest_steps import have_fewest_steps

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED_WEIGHTS = store.DEFAULT_FOLDER
PLAN = TrainingPlan(epochs=1, batch_size=2, learning_rate=1e-3)


gc.disable()  # until all tests are collected: most of what is made meanwhile stays


def pytest_collection_finish() -> None:
    """What is imported and collected is not looked through again."""
    gc.freeze()
    gc.enable()


def masked(side_px: int) -> InputSpec:
    """Every step there is that moves pixels, at a size of choice."""
    steps = (MaskBackground(), StretchContrast(), Upright(), CropToHand(1.15), Resize(side_px))
    return InputSpec(side_px, steps, Standardise())


def ellipse(height: int, width: int, tilt_degrees: float = 0.0) -> tuple[Radiograph, HandMask]:
    """A grey ellipse on black, which passes for a hand, and its mask."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    y, x = (rows - height * 0.5) / (height * 0.4), (columns - width * 0.5) / (width * 0.3)
    inside = x**2 + y**2 < 1
    pixels = np.where(inside, 0.3 + 0.4 * (1 - x**2 - y**2), 0.0).astype(np.float32)
    return Radiograph(pixels), HandMask(inside, 1.0, tilt_degrees, inverted=False)


def tiny_age(name: str, side_px: int, output: str = "expectation") -> Member:
    """An age network that builds and runs in milliseconds."""
    return Member(
        name, Architecture("test_efficientnet", hidden=(16,), sex_features=4, output=output), masked(side_px), PLAN
    )


def pass_through(block: CompetitiveBlock) -> None:
    """Rig a block of zeros to hand its first channel on, dark cut off."""
    for convolution, centre in ((block.first[0], 1), (block.third[1], 0)):
        convolution.weight[0, 0, centre, centre] = 1.0
    for norm in (block.first[1], block.second[2], block.third[2]):
        norm.weight.fill_(1.0)


def call_bright_a_hand(network: HandNetwork) -> None:
    """Rig an untrained hand network: what is brighter than most is one upright hand, bone bright."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for convolution in (network.stem[0], network.stem[2]):
            convolution.weight[0, 0].fill_(1 / 9)
        pass_through(network.down[0])
        pass_through(network.up[-1])
        network.mask[0].weight[:, 0, 1, 1] = 100.0  # so sure that no outline is drawn again
        network.mask[0].bias.fill_(-10.0)
        network.answers[2].bias.copy_(torch.tensor([5.0, 0.0, 1.0, -5.0]))


# Fixtures that run the shipped networks, real radiographs or the page.
NOT_QUICK = {"assessor", "sharp_val", "data_folder", "served", "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `quick` what `make quick` runs: unit tests without the shipped networks that are not marked as slow."""
    for item in items:
        if runs_nothing_shipped(item) and item.get_closest_marker("slow") is None:
            item.add_marker("quick")


def runs_nothing_shipped(item: pytest.Item) -> bool:
    """A unit test without the shipped networks, real radiographs or the page."""
    in_unit = "unit" in item.path.relative_to(REPOSITORY / "tests").parts[:-1] or item.path.name == "test_layers.py"
    return in_unit and not set(getattr(item, "fixturenames", ())) & NOT_QUICK


@pytest.fixture(autouse=True)
def pytorch_for_unit_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of a test live too short to be worth the making of a graph; what is shipped runs as it is served."""
    if runs_nothing_shipped(request.node):
        monkeypatch.setenv("BAA_ENGINE", "torch")


@pytest.fixture(scope="session", autouse=True)
def shipped_networks_loaded_once() -> Iterator[None]:
    """Every command that is run in this process shares the shipped networks: to load them takes longer than to run."""
    opened: Callable[[Path | None], NetworkStore] = NetworkStore.of_folder
    shared: dict[str, NetworkStore] = {}

    def of_folder(folder: Path | None = None) -> NetworkStore:
        if folder is not None or store.DEFAULT_FOLDER != SHIPPED_WEIGHTS:
            return opened(folder)
        engine = engine_name()
        if engine not in shared:
            shared[engine] = opened(folder)
        return shared[engine]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetworkStore, "of_folder", staticmethod(of_folder))
        patch.setitem(engine._GRADIENTS, "in graphs", False)  # their making takes longer than tests would save
        yield


@pytest.fixture
def fewest_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole explanation, each of its tests with as few steps as it can have."""
    have_fewest_steps(monkeypatch)


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """Two age members of unlike size and output, a hand and a sex network."""
    whole = InputSpec(128, (PadSquare(), Resize(128)), Standardise())
    hand = Architecture("fastsurfer", task="hand", hidden=(8,), sex_features=0)
    sex = Architecture("test_efficientnet", task="sex", hidden=(16,), sex_features=0)
    return Recipe(
        name="tiny",
        title="Tiny",
        citation="none",
        hand=Member("tiny_hand", hand, whole, PLAN),
        members=(tiny_age("tiny_64", 64), tiny_age("tiny_96", 96, output="regression")),
        sex=(Member("tiny_sex", sex, masked(64), PLAN),),
    )


@pytest.fixture(scope="session")
def tiny_weights(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder for `tiny_recipe`. Read only: copy it before breaking it."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    entries = {}
    for member in tiny_recipe.members_in_use:
        network = build(member.architecture)
        if isinstance(network, HandNetwork):
            call_bright_a_hand(network)
        sha256 = save_network(network, folder / f"{member.name}.safetensors")
        entries[member.name] = WeightsEntry(
            f"{member.name}.safetensors", sha256, "tiny", "nothing: random", 0, "cpu", "public domain"
        )
    calibration = Calibration(
        bias={member.name: LinearBias(0.1, -5.0) for member in tiny_recipe.members},
        interval=IntervalModel(Difficulty((0.0, 120.0), (10.0, 20.0), 0.0, 0.0, 1.0), {COVERAGE: 1.0}),
        mismatch_probability=0.9,
        agreement_probability=0.8,
        mismatch_youngest_months=24.0,
        trained_range_months={"female": (1.0, 216.0), "male": (1.0, 228.0)},
        range_error_months={
            sex: {"young": MeasuredError(0), "old": MeasuredError(21, 11.2)} for sex in ("female", "male")
        },
    )
    write_manifest(Manifest(entries, {"tiny": calibration.to_dict()}), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_assessor(tiny_recipe: Recipe, tiny_weights: Path) -> Assessor:
    """The whole machinery around untrained networks."""
    return assessor_of(tiny_recipe, tiny_weights)


def assessor_of(recipe: Recipe, folder: Path) -> Assessor:
    """An assessor for a recipe that is not listed."""
    store = NetworkStore.of_folder(folder)
    return Assessor(recipe, Calibration.from_dict(store.manifest.calibration[recipe.name]), store)


@pytest.fixture(scope="session")
def assessor() -> Assessor:
    """The default recipe with its shipped networks."""
    return load_assessor()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The shared data, as DATA.md describes it: BAA_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("BAA_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "labels.csv").is_file():
        pytest.skip("needs the real radiographs: set BAA_DATA to the folder that holds labels.csv and the tar files")
    return folder


class Labelled(NamedTuple):
    """A real radiograph with what is known about it."""

    name: str
    content: bytes
    sex: str
    bone_age_months: float


@pytest.fixture(scope="session")
def sharp_val(data_folder: Path) -> list[Labelled]:
    """Twelve sharp radiographs of the `val` split, spread over its ids; their bytes are never stored."""
    with (data_folder / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val" and row["hires"] == "1"]
    chosen = {f"{row['rsna_id']}.jpg": row for row in rows[:: max(1, len(rows) // 12)][:12]}
    found = []
    for path in sorted(data_folder.glob("rsna_hires-*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:
                row, file = chosen.get(Path(entry.name).name), tar.extractfile(entry) if entry.isfile() else None
                if row and file:
                    name = Path(entry.name).name
                    found.append(Labelled(name, file.read(), row["sex"], float(row["bone_age_months"])))
    return found
