"""What a lent GPU machine trains from: a pack of arranged inputs, and a training that needs torch and timm only."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from baa_core.errors import BoneAgeError
from baa_core.networks.joint_patches import JOINTS, JointAgeNetwork, PATCH_PX, joint_patches
from baa_core.networks.build import build
from baa_core.phantom import draw_phantom
from baa_core.recipes.schema import Architecture, Member
from baa_core.recipes.deeplasia import HAND, whole_frame
from baa_core.recipes.lite import AGE, AGE_BONES, AGE_JOINTS
from baa_core.preprocessing.picture import IDENTITY, Picture
from train.fit import Options
from train.from_pack import Learner, main, normalised, read_pack, train, varied_patches, varied_pictures
from train.data.pack import Item, MARGIN_PX, check_packable, chosen_samples, joint_items, pack, tiled, write_pack
from train.data.samples import Sample, find_samples, read_labels
from train.initial_weights import member_start

REPOSITORY = Path(__file__).parents[4]
TINY = Architecture("test_efficientnet", hidden=(16,), sex_features=4)
TINY_JOINTS = Architecture("test_efficientnet", heads="joints", hidden=(16,), sex_features=0)
# What a lent machine need not have. lightning is there, but a pack does not need it.
ABSENT = ("cv2", "pandas", "gradio", "albumentations", "pydicom", "plotly", "captum", "scipy", "sklearn", "skimage",
          "matplotlib", "tqdm", "torchmetrics", "lightning")  # fmt: skip
BLOCKED = f"""
import sys
from importlib.machinery import PathFinder
real = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in {ABSENT!r} else real(name, path, target)
PathFinder.find_spec = staticmethod(find_spec)
from train.from_pack import main
status = main(sys.argv[1:])
assert not set({ABSENT!r}) & set(sys.modules)
sys.exit(status)
"""


def squares(count: int, side_px: int = 32) -> tuple[pd.DataFrame, list[Item]]:
    """Pictures of bright squares, larger the older, and their labels: a third of them `val`, one `test`."""
    random = np.random.default_rng(0)
    rows, items = [], []
    for number in range(count):
        months = int(random.integers(20, 220))
        picture = random.integers(0, 30, (side_px, side_px)).astype(np.uint8)
        picture[: 4 + months // 8, : 4 + months // 8] = 200
        split = "val" if number % 3 == 0 else "train"
        rows.append(
            {"rsna_id": number, "sex": ("female", "male")[number % 2], "bone_age_months": months, "split": split}
        )
        items.append(Item(Sample(number, Path("none.png"), "sharp", None), picture, float(picture.std() / 255)))
    return pd.DataFrame(rows).set_index("rsna_id"), items


def tiny(member: Member, **plan: object) -> Member:
    """A member that trains in seconds, on pictures of 32 px."""
    quick = replace(member.training, init="scratch", batch_size=8, learning_rate=1e-2, average_decay=0.9, **plan)
    return replace(member, architecture=TINY, input=whole_frame(32), training=quick, eight_bit=False)


@pytest.fixture(scope="module")
def square_pack(tmp_path_factory):
    """The pack of 48 squares, in one file."""
    labels, items = squares(48)
    member = tiny(AGE, teacher_weight=0.0)
    torch.manual_seed(0)
    (file,) = write_pack(
        member, iter(items), labels, build(TINY), tmp_path_factory.mktemp("pack") / "tiny.npz", None, 60.0
    )
    return file, labels, items


def test_a_pack_gives_back_every_pixel_and_label(square_pack):
    file, labels, items = square_pack
    made = read_pack([file])
    np.testing.assert_array_equal(made.inputs.numpy(), np.stack([item.picture for item in items]))
    assert made.months.tolist() == labels.bone_age_months.tolist()
    assert made.male.tolist() == (labels.sex == "male").astype(float).tolist()
    assert made.validation.tolist() == (labels.split == "val").tolist()
    assert made.teacher.isnan().all() and made.architecture == TINY
    build(made.architecture).load_state_dict(made.start)


def test_a_large_pack_is_dealt_to_files_of_the_size_asked_for(square_pack, tmp_path):
    _, labels, items = square_pack
    noise = np.random.default_rng(1).integers(0, 255, (160, 160)).astype(np.uint8)
    items = [replace(item, picture=noise) for item in items]
    files = write_pack(tiny(AGE), iter(items), labels, build(TINY), tmp_path / "tiny.npz", None, 0.7)
    assert len(files) > 1 and all(file.stat().st_size <= 0.7e6 for file in files)
    made = read_pack(list(reversed(files)))
    assert made.months.tolist() == labels.bone_age_months.tolist() and made.start
    with pytest.raises(BoneAgeError, match=rf"has {len(files)} files"):
        read_pack(files[:1])
    (small,) = write_pack(tiny(AGE), iter(items[:9]), labels, build(TINY), tmp_path / "jpeg.npz", 50, 60.0)
    assert np.abs(read_pack([small]).inputs[0].float().numpy() - noise).mean() < 40
    with pytest.raises(BoneAgeError, match="start weights"):
        write_pack(tiny(AGE), iter(items), labels, build(TINY), tmp_path / "none.npz", None, 0.1)


def test_what_is_no_pack_is_named(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    assert main([str(tmp_path / "broken.npz"), "--minutes", "1"]) == 1
    with pytest.raises(BoneAgeError, match=r"broken\.npz is not a pack"):
        read_pack([tmp_path / "broken.npz"])


def test_members_that_need_more_than_pictures_are_not_packed():
    check_packable(AGE)
    check_packable(AGE_JOINTS)
    for member in (AGE_BONES, HAND):
        with pytest.raises(BoneAgeError, match="cannot be trained from a pack"):
            check_packable(member)


def test_training_from_a_pack_beats_the_mean_age(square_pack, tmp_path, capsys):
    file, labels, _ = square_pack
    made = read_pack([file])
    made.about["plan"] |= {"epochs": 12, "loss": "mean_error"}
    result = train(made, tmp_path, None)
    validation = labels[labels.split == "val"].bone_age_months
    of_mean = (validation - labels[labels.split == "train"].bone_age_months.mean()).abs().mean()
    assert result["best"] < 0.8 * of_mean
    said = capsys.readouterr().out
    assert said.count("images/s") == 12
    answers = pd.read_csv(tmp_path / "val.csv")
    assert (answers.predicted_months - answers.bone_age_months).abs().mean() == pytest.approx(result["best"], abs=0.5)


def test_a_training_in_two_calls_keeps_its_budget(square_pack, tmp_path):
    file, _, _ = square_pack
    made = read_pack([file])
    made.about["plan"]["epochs"] = 3
    first = train(made, tmp_path, 60.0, at_most=0.0)
    assert first["epochs"] == 0
    made.about["plan"]["epochs"] = 2
    train(made, tmp_path, 60.0)
    made.about["plan"]["epochs"] = 4
    second = train(made, tmp_path, 60.0, resume=True)
    assert second["epochs"] == 4
    with pytest.raises(BoneAgeError, match="no checkpoint"):
        train(made, tmp_path / "elsewhere", 60.0, resume=True)
    spent = train(made, tmp_path / "spent", 1e-6)
    assert spent["epochs"] == 1 and (tmp_path / "spent" / f"{AGE.name}.safetensors").exists()


def test_augmented_pictures_stay_pictures():
    torch.manual_seed(0)
    pictures = torch.rand(64, 48, 48)
    made = varied_pictures(pictures)
    assert made.shape == pictures.shape and made.min() >= 0 and made.max() <= 1
    assert (made != pictures).flatten(1).any(dim=1).float().mean() > 0.95
    patches = torch.rand(6, 20, PATCH_PX + 2 * MARGIN_PX, PATCH_PX + 2 * MARGIN_PX)
    moved = varied_patches(patches)
    assert moved.shape == (6, 20, PATCH_PX, PATCH_PX) and moved.isfinite().all()


def test_greys_are_normalised_as_the_recipe_does():
    picture = np.random.default_rng(0).random((24, 24), np.float32)
    seen = torch.tensor(picture)[None]
    expected = AGE.input.normalise(Picture(picture, picture > 0, IDENTITY)).pixels
    torch.testing.assert_close(normalised(seen, "Standardise")[0, 0], torch.tensor(expected), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Three drawn radiographs with labels, and the store of their hands; one is of `test`."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "cache" / "hands" / "sharp").mkdir(parents=True)
    (folder / "images").mkdir()
    rows, hands = [], []
    for number, split in enumerate(("train", "val", "test"), start=1):
        phantom = draw_phantom(60 * number, "female", seed=number, height_px=400)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), np.uint8(phantom.radiograph.pixels * 255))
        cv2.imwrite(str(folder / "cache" / "hands" / "sharp" / f"{number}.png"), np.uint8(phantom.mask * 255))
        rows.append({"rsna_id": number, "sex": "female", "bone_age_months": 60 * number, "split": split})
        hands.append(
            {"kind": "sharp", "rsna_id": number, "found": True, "presence": 1, "tilt_degrees": 0, "inverted": False}
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    pd.DataFrame(hands).to_csv(folder / "cache" / "hands" / "hands.csv", index=False)
    return folder


def test_packed_patches_are_those_the_network_cuts(drawn):
    """The same function cuts them; what is packed is 8 bit and has a margin. `test` is left out."""
    labels = read_labels(drawn / "labels.csv")
    samples = chosen_samples(AGE_JOINTS, find_samples([drawn / "images"], labels), labels)
    assert [s.rsna_id for s in samples] == [1, 2]
    torch.manual_seed(0)
    network = build(TINY_JOINTS)
    assert isinstance(network, JointAgeNetwork)
    member = replace(AGE_JOINTS, architecture=TINY_JOINTS)
    (item, *_) = joint_items(member, network, samples[:1], drawn / "cache" / "hands")
    (file,) = write_pack(member, iter([item]), labels, network, drawn / "joints.npz", None, 60.0)
    made = read_pack([file])
    assert made.inputs.shape == (1, len(JOINTS), PATCH_PX + 2 * MARGIN_PX, PATCH_PX + 2 * MARGIN_PX)
    np.testing.assert_array_equal(tiled(made.inputs[0].numpy()), item.picture)
    learner = Learner(made, made.plan, torch.device("cpu"))
    packed, _ = learner.raw(learner.learnt.eval(), torch.tensor([0]), varied=False)
    store_free = _as_served(member, network, samples[0], drawn)
    torch.testing.assert_close(packed, store_free, atol=0.02, rtol=0.02)


def _as_served(member, network, sample, folder):
    """The network's logits for the prepared radiograph, as in use."""
    from baa_core.preprocessing.prepare import prepare
    from train.data.hand_store import HandStore
    from train.data.samples import read_sample

    radiograph = read_sample(sample)
    hand = HandStore(folder / "cache" / "hands").hand(sample, radiograph)
    image = torch.tensor(prepare(radiograph, hand, member.input).image)
    with torch.inference_mode():
        patches, valid = joint_patches(image, network.places(image))
        return network.head(patches, valid, torch.zeros(1)).logits


@pytest.mark.slow
def test_a_network_of_joints_is_packed_and_trained_where_only_torch_and_timm_are(drawn, tmp_path):
    """The whole way: shipped start weights, patches, a drawn hand besides, a training without the project's other libraries, its weights."""
    options = Options((drawn / "images",), drawn / "labels.csv", tmp_path / "run", drawn / "cache")
    (file,) = pack(AGE_JOINTS, options, tmp_path / "joints.npz", drawn=1)
    packed = read_pack([file])
    assert packed.rsna_id.tolist() == [1, 2, -1] and not bool(packed.validation[2])
    assert packed.valid is not None and bool(packed.valid[2].any())
    arguments = [str(file), "--minutes", "1", "--epochs", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "images/s" in done.stdout and "3 radiographs" in done.stdout
    assert json.loads((tmp_path / "out" / "result.json").read_text())["member"] == AGE_JOINTS.name
    network = build(AGE_JOINTS.architecture)
    member_start(network, tmp_path / "out" / f"{AGE_JOINTS.name}.safetensors")
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 64, 64), torch.ones(1)).isfinite().all()


def test_what_was_known_before_can_be_kept_in_part(square_pack):
    made = read_pack([square_pack[0]])
    learner = Learner(made, made.plan, torch.device("cpu"))
    began = {name: tensor.clone() for name, tensor in learner.average.state_dict().items()}
    with torch.no_grad():
        for parameter in learner.average.parameters():
            parameter.add_(1.0)
    learner.mix_start(0.25)
    for name, parameter in learner.average.named_parameters():
        torch.testing.assert_close(parameter.detach(), began[name] + 0.75, atol=2e-3, rtol=0.0)
