"""Training's own parts: data, augmentation, mining checks, averaging. Pictures are drawn."""

import json
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from baa_core.errors import BoneAgeError, InvalidTable
from baa_core.hand_anatomy import REGIONS
from baa_core.networks.build import build
from baa_core.networks.weights import save_network, unpack
from baa_core.phantom import draw_phantom
from baa_core.recipes import RECIPES
from baa_core.recipes.deeplasia import B0, B4, SEX_BONES, whole_frame
from baa_core.recipes.lite import AGE_BONES, AGE_DRAWN
from baa_core.recipes.schema import Architecture, Member, TrainingPlan
from train.age_sex.bone_strips import effaced
from train.age_sex.losses import SOFT_LABEL_DEVIATION_MONTHS
from train.age_sex.tasks import AgeTask, Progress
from train.data.augmentation import AUGMENTATIONS, augment
from train.data.cache import SMALLEST_SHARED_WORK, arranged_pictures, in_processes, needs_hand, normalised
from train.data.dataset import LabelledPictures, labelled
from train.data.phantoms import DrawnHand, DrawnHands, choose_hands, drawn_hands
from train.data.samples import find_samples, read_labels, read_sample
from train.fit import Options, fit, minutes_before, mixed, run, warm_average
from train.hand.composites import Composite
from train.hand.grabcut_seeds import passes_checks, seed_mask
from train.hand.task import HandPictures
from train.initial_weights import member_start, narrowed, widened

DEEPLASIA = RECIPES["deeplasia"]


@pytest.fixture
def drawn(tmp_path):
    """A folder with two thumbnails and one sharp picture, and their labels."""
    rows = []
    for rsna_id, side in ((11, (100, 100)), (12, (100, 100)), (13, (300, 400))):
        phantom = draw_phantom(100, "female", seed=rsna_id, height_px=400)
        pixels = cv2.resize(np.uint8(phantom.radiograph.pixels * 255), side)
        ending = ".png" if side[0] == 100 else ".jpg"
        cv2.imwrite(str(tmp_path / f"{rsna_id}{ending}"), pixels)
        rows.append(
            {
                "rsna_id": rsna_id,
                "sex": "female",
                "bone_age_months": 100,
                "split": "train",
                "original_width": 1500 if rsna_id == 11 else None,
                "original_height": 2000 if rsna_id == 11 else None,
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def test_samples_know_thumbnails_and_bring_back_their_aspect(drawn):
    samples = find_samples([drawn], read_labels(drawn / "labels.csv"))
    by_id = {s.rsna_id: s for s in samples}
    assert [by_id[i].kind for i in (11, 12, 13)] == ["thumbnails", "thumbnails", "sharp"]
    assert read_sample(by_id[11]).shape == (256, 192)
    assert by_id[12].aspect == pytest.approx(0.79)
    assert read_sample(by_id[13]).shape == (400, 300)


def test_a_small_sharp_png_is_not_taken_for_a_squashed_thumbnail(drawn):
    """A frame of 385 px with a plain surround compresses to less than 30 kB; its size in pixels decides."""
    frame = cv2.resize(cv2.imread(str(drawn / "13.jpg"), cv2.IMREAD_GRAYSCALE), (290, 385)) // 64 * 64
    cv2.imwrite(str(drawn / "13.png"), frame)
    assert (drawn / "13.png").stat().st_size < 30_000
    (sample,) = (s for s in find_samples([drawn], read_labels(drawn / "labels.csv")) if s.path.name == "13.png")
    assert sample.kind == "sharp" and read_sample(sample).shape == (385, 290)


def test_the_385_px_frames_are_learnt_from_as_sharp_radiographs(data_folder, tmp_path):
    with tarfile.open(data_folder / "rsna_385px-0.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    labels = read_labels(data_folder / "labels.csv")
    samples = find_samples([tmp_path], labels)
    assert {s.kind for s in samples} == {"sharp"}
    assert labels.loc[[s.rsna_id for s in samples]].split.value_counts().to_dict() == {"train": 84, "val": 3}


def test_label_table_is_checked(tmp_path):
    (tmp_path / "a.csv").write_text("rsna_id,sex\n1,female\n")
    with pytest.raises(InvalidTable, match="lacks the columns"):
        read_labels(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("rsna_id,sex,bone_age_months,split\n1,female,3,train\n1,female,3,train\n")
    with pytest.raises(InvalidTable, match="twice"):
        read_labels(tmp_path / "b.csv")


def test_a_teachers_readings_draw_the_labels(drawn):
    (drawn / "teacher.csv").write_text("rsna_id,one_months,other_months,seen\n11,120,130,1\n")
    labels = read_labels(drawn / "labels.csv", drawn / "teacher.csv")
    member = DEEPLASIA.start[0]
    taught = replace(member, training=replace(member.training, teacher_weight=0.5))
    samples = find_samples([drawn], labels)

    def months(member, labels, split="train", augmented=True):
        return labelled(member, samples, labels, split, ("thumbnails",), drawn / "cache", None, augmented).months

    assert months(taught, labels).tolist() == [112.5, 100.0]  # no reading of 12: its label
    assert months(taught, labels, augmented=False).tolist() == [100.0, 100.0]  # measured against labels alone
    with pytest.raises(InvalidTable, match="--teacher"):
        months(taught, read_labels(drawn / "labels.csv"))


def test_masks_vary_in_training_only(drawn):
    labels = read_labels(drawn / "labels.csv")
    samples = [s for s in find_samples([drawn], labels) if s.kind == "sharp"]
    store = drawn / "cache" / "hands"
    (store / "sharp").mkdir(parents=True)
    mask = cv2.ellipse(np.zeros((400, 300), np.uint8), (150, 200), (80, 140), 0, 0, 360, 255, -1)
    cv2.imwrite(str(store / "sharp" / "13.png"), mask)
    (store / "hands.csv").write_text("kind,rsna_id,found,presence,tilt_degrees,inverted\nsharp,13,True,1,0,False\n")
    member = AGE_DRAWN
    varied = replace(
        member, training=replace(member.training, mask_growths=(0.0, 0.05), teacher_weight=0.0, drawn_share=0.0)
    )
    made = [
        labelled(varied, samples, labels, "train", ("sharp",), drawn / "cache", store, augmented)
        for augmented in (True, False)
    ]
    assert [len(data.variants) for data in made] == [2, 1]
    hand, wider = (np.count_nonzero(variant[0]) for variant in made[0].variants)
    assert wider != hand


def test_drawn_hands_are_labelled_by_what_can_be_seen_of_them(tmp_path):
    hands = choose_hands(60)
    assert hands == choose_hands(60) and {h.sex for h in hands} == {"female", "male"}
    plain = DrawnHand(1000, "female", 100.0, None, None, False)
    altered = replace(plain, altered=("carpals", 160.0))
    assert plain.label_months == pytest.approx(100)
    assert altered.label_months == pytest.approx(110)
    assert replace(altered, erased="carpals").label_months == pytest.approx(100)
    assert replace(altered, erased="metacarpals").label_months == pytest.approx(112)
    spec = AGE_DRAWN.input
    drawn = drawn_hands(3, spec, tmp_path, workers=1)
    assert drawn.pictures.shape == drawn.regions.shape == (3, *spec.shape) and drawn.pictures.max() > 200
    assert set(np.unique(drawn.regions)) == set(range(len(REGIONS) + 1))
    assert drawn.labels.bone_age_months.tolist() == [h.label_months for h in choose_hands(3)]
    assert np.nanmean(drawn.region_months, axis=1) == pytest.approx(drawn.labels.bone_age_months)
    assert np.isnan(drawn.region_months).sum() == sum(h.erased is not None for h in choose_hands(3))


def test_drawn_hands_stand_behind_the_radiographs(drawn):
    labels = read_labels(drawn / "labels.csv")
    samples = find_samples([drawn], labels)
    start = DEEPLASIA.start[0]
    data = labelled(start, samples, labels, "train", ("thumbnails",), drawn / "cache", None, augmented=False)
    rows = pd.DataFrame({"sex": ["female"] * 2, "bone_age_months": [90.0, 100.0]})
    one = np.full((1, *start.input.shape), 9, np.uint8)
    ages = np.array([[20, 40, np.nan, 30, 30, 30]], np.float32)
    hand = DrawnHands(one, one // 9, pd.DataFrame({"sex": ["male"], "bone_age_months": [30.0]}), ages)
    shown = LabelledPictures(data.variants, data.rows, data.sharp, rows, start.input, None, drawn=hand)
    assert len(shown) == 3
    image, male, months, regions, region_months = shown[2]
    assert (float(male), float(months)) == (1.0, 30.0) and image.shape == (1, *start.input.shape)
    assert (regions == 1).all() and float(region_months[1]) == 40.0
    assert float(shown[1][2]) == 100.0 and not shown[1][3].any() and shown[1][4].isnan().all()


def test_a_regions_age_is_asked_for_where_it_lies():
    """Features that hold the age of the left half on the left and of the right half on the right."""
    plan = replace(AGE_DRAWN.training, halved_share=0.0)
    task = AgeTask(replace(AGE_DRAWN, training=plan), None)
    regions = torch.zeros(2, 64, 64, dtype=torch.uint8)
    regions[0, :, :32], regions[0, :, 32:] = 1, 2
    ages = torch.full((2, len(REGIONS)), float("nan"))
    ages[0, :2] = torch.tensor([40.0, 190.0])
    places = torch.zeros(2, task.reads_region.in_features - 1, 2, 2)
    places[:, 0, :, 0], places[:, 1, :, 1] = 1.0, 1.0
    classes = torch.arange(task.reads_region.out_features)
    with torch.no_grad():
        nn.init.zeros_(task.reads_region.weight)
        nn.init.zeros_(task.reads_region.bias)
        for channel, age in ((0, 40.0), (1, 190.0)):
            task.reads_region.weight[:, channel] = -0.5 * ((classes - age) / SOFT_LABEL_DEVIATION_MONTHS) ** 2
        right = task.region_loss(places, torch.zeros(2), regions, ages)
        wrong = task.region_loss(places.flip(-1), torch.zeros(2), regions, ages)
        none = task.region_loss(places[1:], torch.zeros(1), regions[1:], ages[1:])
    assert float(right) < 5 < 50 < float(wrong)
    assert float(none) == 0.0


@pytest.mark.parametrize(("of", "metric"), [(SEX_BONES, "val_auroc"), (AGE_BONES, "val_mae_months")])
def test_what_judges_straightened_bones_learns_and_is_kept(drawn, tmp_path, of, metric):
    """Joints are placed by the landmark network, and only what goes by them is learned and kept."""
    shape = Architecture("test_efficientnet", task=of.architecture.task, heads="bones", hidden=(16,), sex_features=0)
    plan = replace(of.training, init="landmarks", epochs=1, batch_size=2, drawn_share=0.0)
    member = replace(of, name="tiny", architecture=shape, input=whole_frame(64), training=plan, eight_bit=False)
    torch.manual_seed(1)
    landmarks = build(replace(shape, task="landmarks", heads="one"))
    save_network(landmarks, tmp_path / "landmarks" / "landmarks.safetensors")
    labels = pd.read_csv(drawn / "labels.csv")
    labels = pd.concat([labels, labels[2:].assign(rsna_id=14)])  # a batch norm wants two to learn from
    (drawn / "14.jpg").write_bytes((drawn / "13.jpg").read_bytes())
    splits, sexes = ["val", "train", "train", "val"], ["female", "male", "female", "male"]
    labels.assign(split=splits, sex=sexes).to_csv(drawn / "labels.csv")
    options = Options((drawn,), drawn / "labels.csv", tmp_path / "run", drawn / "cache")
    assert metric in fit(member, options)
    kept = unpack((tmp_path / "run" / "tiny.safetensors").read_bytes())
    assert {name.split(".")[0] for name in kept} == {"head"}
    assert set(kept) | set(landmarks.state_dict()) == set(build(shape).state_dict())
    assert json.loads((tmp_path / "run" / "result.json").read_text())["metric"] == metric


def test_a_bone_without_its_detail_keeps_its_level():
    torch.manual_seed(0)
    strips = torch.rand(40, 22, 16, 12)
    found = effaced(strips)
    untouched = (found == strips).all(dim=(2, 3))
    assert 0.8 < float(untouched.float().mean()) < 1.0
    assert float(found[~untouched].std(dim=(1, 2)).max()) < 0.5 * float(strips.std())
    assert found.mean(dim=(2, 3)) == pytest.approx(strips.mean(dim=(2, 3)), abs=0.03)


def test_every_kind_of_picture_has_its_share():
    drawn, sharp = np.arange(1000) < 500, np.arange(1000) >= 900
    torch.manual_seed(0)
    shown = np.array(list(mixed([(drawn, 0.2), (sharp, 0.5)])))
    assert np.mean(shown < 500) == pytest.approx(0.2, abs=0.04)
    assert np.mean(shown >= 900) == pytest.approx(0.5, abs=0.04)


def test_a_b0_begins_as_the_lite0_it_comes_from():
    """To a B0 with ReLU6, gates that start open change nothing but a factor close to 1."""
    lite, b0 = (Architecture(name, activation="relu6", dropout=0.0) for name in ("tf_efficientnet_lite0", B0))
    torch.manual_seed(0)
    source, network = build(lite), build(b0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lite.safetensors"
        save_network(source, path)
        member_start(network, path)
    images = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images, torch.ones(2)), source(images, torch.ones(2)), rtol=0.02, atol=2.0)


def test_a_b4_begins_as_the_lite0_that_is_let_into_it():
    """Wider and deeper, with another first hidden layer: what comes out is the same, and every weight can learn."""
    torch.manual_seed(0)
    source = build(Architecture("tf_efficientnet_lite0", hidden=(256,), dropout=0.0))
    network = build(Architecture(B4, activation="relu6", hidden=(512,), dropout=0.0))
    before = network.state_dict()
    filled = widened(source.state_dict(), before)
    network.load_state_dict({**before, **{name: t for name, t in filled.items() if t.shape == before[name].shape}})
    for name, module in network.named_modules():
        if name.endswith(".se"):  # open gates, as `member_start` sets them
            torch.nn.init.zeros_(module.conv_expand.weight)
            torch.nn.init.constant_(module.conv_expand.bias, 100.0)
    images = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        features, known = network.backbone(images), source.backbone(images)
        torch.testing.assert_close(features[:, : known.shape[1]], known, rtol=1e-3, atol=1e-3)
        male = torch.ones(2)[:, None]
        hidden, known_hidden = (
            net.head[0](torch.cat([seen, net.inflate_sex(male)], dim=1))
            for net, seen in ((network, features), (source, known))
        )
        torch.testing.assert_close(hidden[:, :256], known_hidden, rtol=1e-3, atol=1e-3)
    assert filled["backbone.blocks.3.5.bn3.weight"].abs().sum() == 0, "a block that Lite0 lacks adds nothing"
    assert all(
        torch.equal(tensor, source.state_dict()[name]) for name, tensor in widened(*[source.state_dict()] * 2).items()
    )


def test_a_mobilenet_begins_with_the_strongest_channels_of_a_lite0():
    torch.manual_seed(0)
    wide = build(Architecture("tf_efficientnet_lite0")).state_dict()
    narrow = build(Architecture("mobilenetv3_large_100")).state_dict()
    cut = narrowed(wide, narrow)
    trunk = [n for n in narrow if n.startswith("backbone.blocks.") and n[16] < "6" and ".se." not in n]
    assert all(cut[n].shape == narrow[n].shape for n in trunk if "num_batches" not in n)
    block = "backbone.blocks.1.0."
    weight = wide[f"{block}conv_pwl.weight"].abs().sum(dim=(0, 2, 3))
    weight = weight * wide[f"{block}conv_dw.weight"].abs().sum(dim=(1, 2, 3))
    kept = [int(i) for i in sorted(weight.argsort(descending=True)[:64])]
    torch.testing.assert_close(cut[f"{block}bn1.weight"], wide[f"{block}bn1.weight"][kept])
    torch.testing.assert_close(cut[f"{block}conv_pwl.weight"], wide[f"{block}conv_pwl.weight"][:, kept])
    # A fourth block of stage 3, which Lite0 lacks, begins as its third; 5x5 kernels keep their middle.
    torch.testing.assert_close(cut["backbone.blocks.3.3.bn3.bias"], wide["backbone.blocks.3.2.bn3.bias"])
    five = wide["backbone.blocks.4.0.conv_dw.weight"][..., 1:4, 1:4].flatten(1)
    assert all((five == kernel).all(dim=1).any() for kernel in cut["backbone.blocks.4.0.conv_dw.weight"].flatten(1))
    assert all(torch.equal(wide[name], tensor) for name, tensor in narrowed(wide, wide).items())


def test_minutes_of_the_run_before_count_for_the_same_network_only(tmp_path):
    (tmp_path / "result.json").write_text('{"minutes": 9.5}')
    member = AGE_DRAWN

    def begun(name):
        init = str(tmp_path / f"{name}.safetensors")
        return minutes_before(replace(member, training=replace(member.training, init=init)))

    assert begun(member.name) == 9.5
    assert begun("start") == 0.0
    assert minutes_before(member) == 0.0


def test_a_corrupt_picture_is_named(drawn):
    (drawn / "13.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a jpeg")
    samples = find_samples([drawn], read_labels(drawn / "labels.csv"))
    with pytest.raises(BoneAgeError, match=r"13\.jpg"):
        arranged_pictures(samples, DEEPLASIA.start[0].input, None, drawn / "cache", workers=1)


def test_arranged_pictures_are_cached_and_square(drawn):
    samples = find_samples([drawn], read_labels(drawn / "labels.csv"))
    spec = DEEPLASIA.start[0].input
    assert not needs_hand(spec) and needs_hand(AGE_DRAWN.input)
    pictures, found = arranged_pictures(samples, spec, None, drawn / "cache", workers=1)
    assert pictures.shape == (3, spec.side_px, spec.side_px) and found.all()
    again, _ = arranged_pictures(samples, spec, None, drawn / "cache", workers=1)
    np.testing.assert_array_equal(pictures, again)
    assert normalised(pictures[0], spec).mean() == pytest.approx(0, abs=1e-4)


def test_much_work_is_shared_out_to_processes_and_comes_back_in_order():
    made = list(in_processes(oct, list(range(SMALLEST_SHARED_WORK)), 2, "counting"))
    assert made == [oct(number) for number in range(SMALLEST_SHARED_WORK)]


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_augmentation_keeps_shape_and_type_and_changes_pixels(name):
    picture = np.uint8(draw_phantom(120, "male", height_px=200).radiograph.pixels * 255)[:128, :128]
    made = [augment(picture, name) for _ in range(4)]
    assert all(m.shape == picture.shape and m.dtype == np.uint8 for m in made)
    assert any((m != picture).any() for m in made)


def test_every_training_plan_names_an_existing_augmentation():
    for recipe in RECIPES.values():
        for member in recipe.networks:
            if member.architecture.task != "hand":
                assert member.training.augment in ("", *AUGMENTATIONS)


def test_a_seed_mask_grows_from_keypoints_to_the_drawn_hand():
    phantom = draw_phantom(130, "female", seed=3, height_px=500)
    height, width = phantom.radiograph.shape
    points = {k: (c / width, r / height) for k, (r, c) in phantom.landmarks.items()}
    mask = seed_mask(np.uint8(phantom.radiograph.pixels * 255), points)
    truth = cv2.resize(np.uint8(phantom.mask), mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dice > 0.8
    assert passes_checks(mask, np.array(list(points.values())))


def test_checks_refuse_what_is_no_hand_mask():
    noise = (np.random.default_rng(0).random((200, 200)) > 0.5).astype(np.uint8)
    assert not passes_checks(noise, np.empty((0, 2)))
    assert not passes_checks(np.zeros((200, 200), np.uint8), np.empty((0, 2)))
    disc = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 60, 1, -1)
    assert passes_checks(disc, np.array([[0.5, 0.5]]))
    assert not passes_checks(disc, np.array([[0.02, 0.02]]))


def test_hand_pictures_carry_exact_masks_and_directions():
    phantom = draw_phantom(100, "male", height_px=300)
    radiograph = Composite(np.uint8(phantom.radiograph.pixels * 255), np.uint8(phantom.mask), up=(0.0, 1.0))
    pictures = HandPictures(
        [radiograph, radiograph], [], [], DEEPLASIA.hand, side_px=128, length=40, seed=1, steady=True
    )
    seen = {"hand": 0, "none": 0}
    for i in range(40):
        image, mask, weight, answers = pictures[i]
        assert image.shape == (1, 128, 128) and mask.shape == weight.shape == (128, 128)
        assert bool(mask.any()) == bool(answers[0])
        seen["hand" if answers[0] else "none"] += 1
        if answers[1:3].any():
            assert float(answers[1:3].norm()) == pytest.approx(1, abs=1e-5)
    assert seen["hand"] > 20 and seen["none"] > 0
    assert torch.equal(pictures[5][0], pictures[5][0])


def test_the_moving_average_forgets_where_it_began():
    average = warm_average(0.99)
    value = torch.tensor(100.0)
    for step in range(1, 60):
        value = average(value, torch.tensor(1.0), step)
    assert float(value) == pytest.approx(1.0, abs=0.05)


class ThreeSteps(Progress):
    """A clock that has run out after three steps."""

    def share(self, step: int, total_steps: int) -> float:
        self.steps = step
        return 0.5

    @property
    def over(self) -> bool:
        return self.steps >= 3


def test_the_last_weights_count_when_time_is_up_within_an_epoch(tmp_path):
    plan = TrainingPlan(epochs=5, batch_size=2, learning_rate=1e-3, average_decay=0.9)
    shape = Architecture("test_convnext", hidden=(8,), dropout=0.0)
    pictures = TensorDataset(torch.randn(40, 1, 64, 64), torch.ones(40), torch.full((40,), 100.0))
    task = AgeTask(Member("small", shape, DEEPLASIA.start[0].input, plan), minutes=1.0)
    task.progress = ThreeSteps(1.0)
    options = Options(images=(), labels=tmp_path, out=tmp_path / "run", cache=tmp_path, device="cpu")
    result = run(task, DataLoader(pictures, 2), DataLoader(pictures, 40), options)
    assert np.isfinite(result["best"])
    assert torch.load(tmp_path / "run" / "best.ckpt", weights_only=False)["global_step"] == 4
