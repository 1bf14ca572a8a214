import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as dump_safetensors
from torch import nn

from baa_core.errors import WeightsCorrupt, WeightsMissing
from baa_core.estimation.calibration import Calibration
from baa_core.networks.age import AgeNetwork
from baa_core.networks.build import build
from baa_core.networks.weights import (
    DEFAULT_FOLDER,
    Manifest,
    load_network,
    read_manifest,
    save_network,
    unpack,
    write_manifest,
)
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import RECIPES
from baa_core.recipes.schema import Recipe
from tests.conftest import assessor_of


@pytest.fixture
def folder(tiny_weights: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(tiny_weights, tmp_path / "weights"))


def test_what_is_saved_comes_back_in_half_precision(tiny_recipe: Recipe, tmp_path: Path) -> None:
    network = build(tiny_recipe.members[0].architecture)
    with torch.no_grad():
        network.head[0].weight.fill_(0.123456789)
    sha256 = save_network(network, tmp_path / "a.safetensors")
    assert sha256 == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    assert (tmp_path / "a.safetensors").stat().st_size < 2.5 * sum(p.numel() for p in network.parameters()) + 60_000


def test_eight_bits_halve_the_file_again_and_cost_half_a_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(80, 80), nn.BatchNorm1d(80))
    with torch.no_grad():
        network[0].weight[3] *= 100.0  # a row of its own size has a scale of its own
        network[0].weight[5] = 0.0
    save_network(network, tmp_path / "half.safetensors")
    save_network(network, tmp_path / "eight.safetensors", eight_bit=True)
    half, eight = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("half", "eight"))
    assert len(eight) < 0.62 * len(half)
    read = unpack(eight)
    assert read.keys() == network.state_dict().keys()
    step = network[0].weight.abs().amax(dim=1, keepdim=True) / 127
    assert ((read["0.weight"] - network[0].weight).abs() <= 0.52 * step + 1e-4).all()
    torch.testing.assert_close(read["1.running_var"], unpack(half)["1.running_var"])


def test_a_loaded_network_is_ready_to_serve(tiny_recipe: Recipe, tiny_weights: Path) -> None:
    network = load_network(tiny_recipe.members[0], tiny_weights)
    assert isinstance(network, AgeNetwork)
    assert not network.training
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert {b.dtype for n, b in network.named_buffers() if "num_batches" in n} == {torch.int64}
    convolution = next(m for m in network.modules() if isinstance(m, nn.Conv2d) and m.weight.shape[1] > 1)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_values_beyond_half_precision_are_not_saved(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(1e6)
    with pytest.raises(ValueError, match="half precision"):
        save_network(network, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_missing_file_says_what_to_get(tiny_recipe: Recipe, folder: Path) -> None:
    (folder / "tiny_64.safetensors").unlink()
    with pytest.raises(
        WeightsMissing, match=r"needs weights/tiny_64\.safetensors.*README.*sha256 must be [0-9a-f]{12}…"
    ) as wrong:
        load_network(tiny_recipe.members[0], folder)
    assert str(folder) not in str(wrong.value)


@pytest.mark.parametrize("damage", ["one bit", "cut short", "empty"])
def test_a_damaged_file_is_not_loaded(tiny_recipe: Recipe, folder: Path, damage: str) -> None:
    path = folder / "tiny_64.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"one bit": bytes(content), "cut short": bytes(content[:-100]), "empty": b""}[damage])
    with pytest.raises(WeightsCorrupt, match="not the file the manifest names") as wrong:
        load_network(tiny_recipe.members[0], folder)
    assert str(folder) not in str(wrong.value)


@pytest.mark.parametrize("content", [b"not safetensors", None])
def test_a_file_with_another_network_is_not_loaded(tiny_recipe: Recipe, folder: Path, content: bytes | None) -> None:
    """Its sha256 is the manifest's, but it does not fit the recipe."""
    content = content if content is not None else (folder / "tiny_sex.safetensors").read_bytes()
    (folder / "tiny_64.safetensors").write_bytes(content)
    values = read_manifest(folder).to_dict()
    values["weights"]["tiny_64"]["sha256"] = hashlib.sha256(content).hexdigest()
    write_manifest(Manifest.from_dict(values), folder)
    with pytest.raises(WeightsCorrupt, match="does not hold the network"):
        load_network(tiny_recipe.members[0], folder)


def spoil(folder: Path, name: str, value: float) -> None:
    """One number of a file is replaced and the manifest's sha256 goes with it, as a training gone wrong would leave."""
    path = folder / f"{name}.safetensors"
    state = parse_safetensors(path.read_bytes())
    tensor = [tensor for tensor in state.values() if tensor.is_floating_point()][-1]
    tensor.view(-1)[0] = value
    path.write_bytes(dump_safetensors(state))
    values = read_manifest(folder).to_dict()
    values["weights"][name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    write_manifest(Manifest.from_dict(values), folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["tiny_hand", "tiny_sex", "tiny_64", "tiny_96"])
def test_a_file_with_one_number_that_is_none_gives_no_months(
    tiny_recipe: Recipe, folder: Path, name: str, value: float
) -> None:
    spoil(folder, name, value)
    drawn = draw_phantom(120.0, "male", height_px=300).radiograph
    with pytest.raises(WeightsCorrupt, match=rf"weights/{name}\.safetensors"):
        assessor_of(tiny_recipe, folder).assess(to_png(drawn))


def test_a_broken_scale_of_eight_bits_gives_no_network(tiny_recipe: Recipe, folder: Path) -> None:
    member = tiny_recipe.members[0]
    save_network(build(member.architecture), folder / "tiny_64.safetensors", eight_bit=True)
    state = parse_safetensors((folder / "tiny_64.safetensors").read_bytes())
    assert any(name.endswith(".scale") for name in state)
    content = dump_safetensors({n: t * float("nan") if n.endswith(".scale") else t for n, t in state.items()})
    (folder / "tiny_64.safetensors").write_bytes(content)
    values = read_manifest(folder).to_dict()
    values["weights"]["tiny_64"]["sha256"] = hashlib.sha256(content).hexdigest()
    with pytest.raises(WeightsCorrupt, match=r"weights/tiny_64\.safetensors is damaged"):
        load_network(member, folder, Manifest.from_dict(values))


@pytest.mark.parametrize("name", ["tiny_hand", "tiny_sex", "tiny_64", "tiny_96"])
def test_a_network_that_computes_no_number_gives_no_months(tiny_recipe: Recipe, tiny_weights: Path, name: str) -> None:
    """Its file is as it should be, yet an answer is not finite, as after an overflow."""
    assessor = assessor_of(tiny_recipe, tiny_weights)
    (member,) = [member for member in tiny_recipe.members_in_use if member.name == name]
    with torch.no_grad():
        list(assessor.network(member).parameters())[-1].fill_(float("nan"))
    drawn = draw_phantom(120.0, "male", height_px=300).radiograph
    with pytest.raises(WeightsCorrupt, match=rf"weights/{name}\.safetensors computed"):
        assessor.assess(to_png(drawn))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "path",
    [
        ("bias", "tiny_64", "slope"),
        ("bias", "tiny_96", "intercept_months"),
        ("interval", "factors", "0.9"),
        ("interval", "scale", "floor_months"),
        ("interval", "scale", "per_deviation"),
        ("sex_mismatch", "probability"),
        ("sex_mismatch", "agreement_probability"),
        ("sex_mismatch", "youngest_months"),
        ("range_error_months", "male", "old", "mae_months"),
    ],
)
def test_a_manifest_with_a_number_that_is_none_gives_no_months(
    tiny_recipe: Recipe, folder: Path, path: tuple[str, ...], word: str
) -> None:
    values = json.loads((folder / "manifest.json").read_text())
    place = values["calibration"]["tiny"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "@"
    (folder / "manifest.json").write_text(json.dumps(values).replace('"@"', word))
    with pytest.raises(WeightsCorrupt, match=r"weights/manifest\.json"):
        assessor_of(tiny_recipe, folder)


def test_a_member_without_weights_says_how_to_train_it(tiny_recipe: Recipe, tiny_weights: Path) -> None:
    manifest = Manifest({}, {})
    with pytest.raises(WeightsMissing, match="python -m train tiny_64"):
        load_network(tiny_recipe.members[0], tiny_weights, manifest)


def test_the_manifest_survives_writing_and_reading(tiny_weights: Path, tmp_path: Path) -> None:
    manifest = read_manifest(tiny_weights)
    write_manifest(manifest, tmp_path)
    assert read_manifest(tmp_path) == manifest


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"weights/manifest\.json is not there"):
        read_manifest(tmp_path)


GOOD = {
    "file": "a.safetensors",
    "sha256": "0" * 64,
    "recipe": "tiny",
    "trained_on": "",
    "minutes": 1,
    "device": "cpu",
    "licence": "none",
}


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        {"weights": {}},
        {"weights": [], "calibration": {}},
        {"weights": {"a": {}}, "calibration": {}},
        {"weights": {"a": 3}, "calibration": {}},
        {"weights": {"a": GOOD | {"surprise": 1}}, "calibration": {}},
        {"weights": {"a": GOOD | {"sha256": "123"}}, "calibration": {}},
        {"weights": {"a": GOOD | {"sha256": None}}, "calibration": {}},
        {"weights": {"a": GOOD | {"file": "../a.safetensors"}}, "calibration": {}},
        {"weights": {"a": GOOD | {"file": "/etc/a.safetensors"}}, "calibration": {}},
        {"weights": {"a": GOOD | {"file": "a.pickle"}}, "calibration": {}},
        {"weights": {"a": GOOD | {"file": None}}, "calibration": {}},
    ],
)
def test_a_wrong_manifest_is_refused(values: Any, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(WeightsCorrupt, match=r"weights/manifest\.json cannot be used.*README"):
        read_manifest(tmp_path)


def test_a_manifest_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(WeightsCorrupt, match="not JSON"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_the_shipped_weights_are_what_their_manifest_says(recipe: Recipe) -> None:
    manifest = read_manifest(DEFAULT_FOLDER)
    if recipe.name not in manifest.calibration:
        pytest.skip(f"no weights yet: python -m train calibrate {recipe.name}")
    for member in recipe.members_in_use:
        assert not load_network(member, DEFAULT_FOLDER, manifest).training
        assert manifest.weights[member.name].licence
    fitted = Calibration.from_dict(manifest.calibration[recipe.name])
    assert not fitted.bias or set(fitted.bias) >= {member.name for member in recipe.members}


def test_a_weights_folder_that_is_a_file_or_no_text_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"weights")
    with pytest.raises(WeightsMissing, match="BAA_WEIGHTS"):
        read_manifest(tmp_path / "file")
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(WeightsCorrupt, match="UTF-8"):
        read_manifest(tmp_path)
