"""The landmark network's training: what the annotations say, how it is carried along, and that it is learnt."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from baa_core.errors import BoneAgeError
from baa_core.hand_anatomy import FINGERS, LANDMARKS
from baa_core.phantom import draw_phantom
from baa_core.recipes import RECIPES
from baa_core.recipes.deeplasia import masked_hand
from baa_core.recipes.schema import Architecture, Member
from train.data.augmentation import augment_pointed
from train.data.hand_store import HandStore
from train.data.samples import find_samples, read_labels
from train.fit import Options, fit, make_task
from train.landmarks.annotations import HAND_ENDS, KEYPOINTS, WHOLE, name_boxes, read_landmarks
from train.landmarks.task import carried, divergence, landmark_sets, pointed_pictures, spots

PHANTOMS = 8
JOINT = {"MCP": 1, "ProximalPhalanx": 1, "MiddlePhalanx": 2, "DistalPhalanx": 3, "PIP": 2, "DIP": 3}
# How far towards the fingertips the boxes of handbone_detect lie from the joint, in lengths of the first phalanx.
BESIDE = {"MCP": -0.45, "ProximalPhalanx": 0.27, "DistalPhalanx": 0.2}
THUMB_JOINT = {"ProximalPhalanx": 2, "DistalPhalanx": 3, "MCP": 2, "PIP": 3, "MCPFirst": 1}


def points_of(phantom):
    known = dict(phantom.landmarks) | {name: phantom.joints[name] for name in ("radius", "ulna")}
    height, width = phantom.radiograph.shape
    return {name: ((column + 0.5) / width, (row + 0.5) / height) for name, (row, column) in known.items()}


def boxes_of(phantom, source):
    """Boxes as `source` draws them: centred off the joint, by the same share of the finger, in every hand."""
    points = {name: np.array(place) for name, place in points_of(phantom).items()}
    off, lower = points["middle_finger1"] - points["wrist"], source == "handbone_detect"
    rows = []
    for label, count in WHOLE[source].items():
        centres = []
        for finger in FINGERS[5 - count :] if count > 1 else ():
            joint = (THUMB_JOINT if finger == "thumb" else JOINT)[label]
            along = points[f"{finger}2"] - points[f"{finger}1"]
            centres.append(points[f"{finger}{joint}"] + (BESIDE.get(label, 0.0) if lower else 0.0) * along)
        if count == 1:
            name = {"Wrist": "wrist", "MCPFirst": "thumb1"}.get(label, label.lower())
            centres.append(points[name] - (0.1 * off if lower and name in ("radius", "ulna") else 0.0))
        rows += [
            {
                "label": label,
                "x_min": x - 0.03,
                "x_max": x + 0.03,
                "y_min": y - 0.03,
                "y_max": y + 0.03,
                "source": source,
                "rater": "expert" if source == "koitka2018" else "",
            }
            for x, y in centres[::-1]
        ]
    return rows


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Drawn hands of both sides as a small data set: pictures, labels, annotations, found hands."""
    folder = tmp_path_factory.mktemp("drawn")
    for below in ("images", "annotations", "cache/hands/sharp"):
        (folder / below).mkdir(parents=True)
    labels, keypoints, boxes, hands = [], [], [], []
    phantoms = {}
    for i in range(1, PHANTOMS + 1):
        phantom = draw_phantom(40 + 15 * i, "female", seed=i, height_px=300, markers=False, mirrored=i % 2 == 0)
        phantoms[i] = phantom
        height, width = phantom.radiograph.shape
        cv2.imwrite(str(folder / "images" / f"{i}.jpg"), np.uint8(phantom.radiograph.pixels * 255))
        cv2.imwrite(str(folder / "cache/hands/sharp" / f"{i}.png"), np.uint8(phantom.mask) * 255)
        hands.append(
            {"kind": "sharp", "rsna_id": i, "found": True, "presence": 1, "tilt_degrees": 8, "inverted": False}
        )
        labels.append(
            {
                "rsna_id": i,
                "sex": "female",
                "bone_age_months": 100,
                "split": "val" if i > 6 else "train",
                "original_width": width,
                "original_height": height,
            }
        )
        if i not in (3, 4):  # 3 has one kind of boxes only, 4 the other; 5 and 6 both; 7 has no boxes
            points = points_of(phantom)
            keypoints += [{"rsna_id": i, "keypoint": n, "x": points[n][0], "y": points[n][1]} for n in KEYPOINTS]
        boxes += [{"rsna_id": i} | row for row in boxes_of(phantom, "handbone_detect") if i not in (4, 7)]
        boxes += [{"rsna_id": i} | row for row in boxes_of(phantom, "koitka2018") if i in (4, 5, 6)]
    pd.DataFrame(labels).to_csv(folder / "labels.csv", index=False)
    pd.DataFrame(keypoints).to_csv(folder / "annotations" / "hand_keypoints.csv", index=False)
    pd.DataFrame(boxes).to_csv(folder / "annotations" / "joint_boxes.csv", index=False)
    pd.DataFrame(hands).to_csv(folder / "cache/hands" / "hands.csv", index=False)
    return folder, phantoms


@pytest.fixture(scope="module")
def tiny():
    """A landmark member that trains in seconds."""
    plan = RECIPES["deeplasia"].landmarks.training
    shape = Architecture("test_efficientnet", task="landmarks", hidden=(16,), sex_features=0)
    plan = replace(plan, epochs=1, batch_size=4, init="scratch", images=("sharp",), average_decay=0.0)
    return Member("tiny_landmarks", shape, masked_hand(64), plan)


def length_of(phantom):
    (top, left), (bottom, right) = (phantom.landmarks[name] for name in HAND_ENDS)
    return float(np.hypot(bottom - top, right - left))


def test_boxes_are_told_apart_by_the_order_of_the_fingers():
    for mirrored in (False, True):
        phantom = draw_phantom(100, "male", seed=3, height_px=300, mirrored=mirrored)
        rows = boxes_of(phantom, "handbone_detect")
        aspect = phantom.radiograph.shape[1] / phantom.radiograph.shape[0]
        centres = [complex((r["x_min"] + r["x_max"]) / 2 * aspect, (r["y_min"] + r["y_max"]) / 2) for r in rows]
        named = name_boxes([r["label"] for r in rows], centres, "handbone_detect")
        assert named.mirrored == mirrored
        for finger in ("forefinger", "ring_finger", "pinky_finger"):
            x, y = points_of(phantom)[f"{finger}2"]
            assert named.points[f"MiddlePhalanx {finger}"] == pytest.approx(complex(x * aspect, y), abs=1e-6)
        assert name_boxes([r["label"] for r in rows[1:]], centres[1:], "handbone_detect") is None


@pytest.mark.slow
def test_landmarks_are_found_beside_boxes(drawn):
    """Hands with boxes only get their landmarks from where these lie in hands that have both."""
    folder, phantoms = drawn
    table = read_landmarks(folder / "annotations", read_labels(folder / "labels.csv"))
    assert not table.duplicated(["rsna_id", "landmark"]).any()
    for i in (3, 4):
        truth = points_of(phantoms[i])
        height, width = phantoms[i].radiograph.shape
        rows = table[table.rsna_id == i]
        assert set(rows.landmark) >= {"wrist", "middle_finger1", "middle_finger2", "radius", "ulna"}
        for row in rows.itertuples():
            if row.landmark == "capitate":
                continue  # no bone of that name is drawn
            x, y = truth[row.landmark]
            apart = np.hypot((row.x - x) * width, (row.y - y) * height) / length_of(phantoms[i])
            assert apart < 0.05, row.landmark
            assert row.exact == (i == 4 and row.landmark in ("radius", "ulna"))
    assert table[(table.rsna_id == 7) & (table.landmark != "capitate")].exact.all()


def test_boxes_that_contradict_the_keypoints_are_left_out(drawn, tmp_path):
    folder, _ = drawn
    labels = read_labels(folder / "labels.csv")
    boxes = pd.read_csv(folder / "annotations" / "joint_boxes.csv")
    beside = (boxes.rsna_id == 1) & (boxes.source == "handbone_detect")
    boxes.loc[beside, ["x_min", "x_max"]] += 0.3
    boxes.to_csv(tmp_path / "joint_boxes.csv", index=False)
    (tmp_path / "hand_keypoints.csv").write_bytes((folder / "annotations" / "hand_keypoints.csv").read_bytes())
    table = read_landmarks(tmp_path, labels)
    assert set(table[table.rsna_id == 1].landmark) == {*KEYPOINTS, "capitate"}
    assert {"radius", "ulna"} <= set(table[table.rsna_id == 2].landmark)


def test_points_go_where_the_picture_goes(drawn):
    """A bright dot painted on each landmark is under its point after crop, turn and resize, and after augmentation."""
    folder, phantoms = drawn
    phantom = phantoms[1]
    labels = read_labels(folder / "labels.csv")
    table = read_landmarks(folder / "annotations", labels)
    names = [name for name in KEYPOINTS if name.endswith(("2", "4"))]
    dots = np.zeros(phantom.radiograph.shape, np.uint8)
    for name in names:
        row, column = phantom.landmarks[name]
        cv2.circle(dots, (round(column), round(row)), 3, 255, -1)
    (folder / "dots").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "dots" / "1.jpg"), dots)
    samples = find_samples([folder / "dots"], labels)
    pictures, points = pointed_pictures(samples, table, LANDMARKS, masked_hand(224), HandStore(folder / "cache/hands"))
    assert pictures.shape == (1, 224, 224) and points.shape == (1, len(LANDMARKS), 2)
    known = np.array([LANDMARKS.index(name) for name in names])
    for picture, at in [(pictures[0], points[0, known])] + [
        augment_pointed(pictures[0], points[0, known], "pointed") for _ in range(5)
    ]:
        inside = ((at > 6) & (at < 217)).all(axis=1)
        assert inside.sum() >= 5
        near = [picture[r - 2 : r + 3, c - 2 : c + 3].max() for r, c in np.round(at[inside]).astype(int)]
        assert min(near) > 0.5 * picture.max()


def test_carrying_undoes_the_way_home():
    home = np.array([[0.5, 0.2, 10.0], [-0.2, 0.5, 20.0]])
    fractions = np.array([[0.25, 0.75], [0.5, 0.5]])
    found = carried(fractions, (200, 100), home)
    for (row, column), (down, across) in zip(found, fractions, strict=True):
        assert home @ [column, row, 1.0] == pytest.approx([across * 100 - 0.5, down * 200 - 0.5], abs=1e-3)


def test_the_heat_is_drawn_to_a_spot():
    points = torch.tensor([[[0.5, 0.25]]])
    spot = spots(points, 16, 1.0)
    assert spot.sum() == pytest.approx(1.0)
    row, column = divmod(int(spot.argmax()), 16)
    assert (row, column) in ((7, 3), (7, 4), (8, 3), (8, 4))
    assert divergence(spot, spot).item() == pytest.approx(0.0, abs=1e-6)
    apart = torch.zeros(1, 1, 16, 16)
    apart[..., 15, 15] = 1.0
    assert divergence(spot, apart).item() == pytest.approx(np.log(2), abs=1e-3)


@pytest.mark.slow
def test_a_network_learns_where_joints_are(drawn, tiny):
    """A few dozen steps on drawn hands: the loss falls, and points are nearer than the middle of the picture is."""
    folder, _ = drawn
    labels = read_labels(folder / "labels.csv")
    samples = find_samples([folder / "images"], labels)
    training, validation = landmark_sets(tiny, samples, labels, folder / "annotations", folder / "cache")
    assert (len(training), len(validation)) == (6, 2)
    torch.manual_seed(0)
    task = make_task(tiny, None)
    task.log = lambda *_, **__: None
    optimiser = torch.optim.AdamW(task.parameters(), lr=3e-3)
    batch = [torch.stack(parts) for parts in zip(*(training[i] for i in range(6)), strict=True)]
    losses = []
    for _ in range(40):
        loss = task.training_step(batch, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    _, points, seen = batch
    with torch.inference_mode():
        found = (task.network(batch[0]).places - points).norm(dim=2)[seen > 0]
    assert found.median() < 0.4 * (points - 0.5).norm(dim=2)[seen > 0].median()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_training_writes_weights_and_the_error_in_hand_lengths(drawn, tiny, tmp_path):
    folder, _ = drawn
    options = Options(
        images=(folder / "images",),
        labels=folder / "labels.csv",
        out=tmp_path / "run",
        cache=folder / "cache",
        device="cpu",
        annotations=folder / "annotations",
    )
    line = fit(tiny, options)
    assert "val_landmark_error" in line
    assert (tmp_path / "run" / "tiny_landmarks.safetensors").exists()
    assert fit(replace(tiny, training=replace(tiny.training, epochs=2)), replace(options, resume=True))
    with pytest.raises(BoneAgeError, match="--annotations"):
        fit(tiny, replace(options, annotations=None))
