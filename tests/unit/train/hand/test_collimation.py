"""Synthetic collimated radiographs: exact masks, honest negatives, and what the hand network makes of them."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from baa_core.errors import HandNotFound, SeveralHands
from baa_core.hand.segmentation import find_hand
from baa_core.phantom import EXAMPLES
from baa_core.recipes import RECIPES
from baa_core.types import Radiograph
from baa_core.workflows.assess import Assessor
from tests.drawn import draw_phantom
from train.data.samples import Sample
from train.hand.collimation import CutOut, collimated, cut_out, draw_hands
from train.hand.composites import Composite
from train.hand.cut_outs import WRONG, choose, contact_sheet
from train.hand.task import HandPictures, further_sets
from train.reports.hand_and_stability import outline_dice

UNSEEN_SEEDS = range(90_000, 90_012)  # drawn hands that no training saw
HAND = RECIPES["deeplasia"].hand


@pytest.fixture(scope="module")
def hands() -> list[CutOut]:
    """Drawn hands of all ages, cut out by their true masks."""
    found = [cut_out(radiograph) for radiograph in draw_hands(UNSEEN_SEEDS, 400, marked_share=0.0)]
    return [hand for hand in found if hand is not None]


@pytest.mark.slow
def test_a_frame_comes_with_the_mask_of_its_one_hand(hands: list[CutOut]) -> None:
    shares = []
    for i in range(20):
        frame = collimated(hands[i % len(hands)], np.random.default_rng((1, i)), hands, [])
        picture, mask, up = frame.pixels, frame.mask, frame.up
        assert picture.shape == mask.shape and picture.dtype == np.float32
        assert float(picture.min()) >= 0.0 and float(picture.max()) <= 1.0
        assert np.hypot(*up) == pytest.approx(1.0)
        count, _, statistics, _ = cv2.connectedComponentsWithStats(mask)
        areas = np.sort(statistics[1:, cv2.CC_STAT_AREA])
        assert count > 1 and areas[-1] > 0.9 * areas.sum()
        shares.append(max(np.ptp(np.nonzero(mask)[0]), np.ptp(np.nonzero(mask)[1])) / max(mask.shape))
    assert min(shares) < 0.3 and max(shares) > 0.7  # small hands and hands that fill the frame


def test_a_seed_gives_the_same_frame_again(hands: list[CutOut]) -> None:
    first, second = (collimated(hands[0], np.random.default_rng(3), hands, []) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels) and np.array_equal(first.mask, second.mask)


def test_a_hand_that_is_to_fill_a_share_of_the_frame_does(hands: list[CutOut]) -> None:
    for i in range(12):
        frame = collimated(hands[i % len(hands)], np.random.default_rng((2, i)), [], [], fill=(0.5, 0.6))
        rows, columns = np.nonzero(frame.mask)
        assert 0.25 < max(np.ptp(rows), np.ptp(columns)) / max(frame.mask.shape) < 0.85


def test_what_lies_beyond_the_field_counts_as_neither_hand_nor_background_where_scatter_shows_it(
    hands: list[CutOut],
) -> None:
    frames = [collimated(hands[i % len(hands)], np.random.default_rng((9, i)), [], []) for i in range(60)]
    scattered = [frame for frame in frames if frame.in_scatter.any()]
    assert 0 < len(scattered) < 30
    assert all(not (frame.in_scatter & (frame.mask > 0)).any() for frame in scattered)
    assert all(frame.kept_share < 1.0 for frame in scattered)


def test_the_share_of_a_hand_that_field_and_frame_keep_is_of_its_whole_area(hands: list[CutOut]) -> None:
    shares = [collimated(hands[i % len(hands)], np.random.default_rng((9, i)), [], []).kept_share for i in range(40)]
    assert max(shares) == pytest.approx(1.0, abs=0.03) and 0.3 < min(shares) < 0.95


def test_a_field_without_a_hand_has_no_mask_even_if_fingers_reach_in(hands: list[CutOut]) -> None:
    for i in range(20):
        frame = collimated(None, np.random.default_rng((4, i)), hands, [])
        assert not frame.mask.any() and frame.up == (0.0, 0.0)
        assert np.isfinite(frame.pixels).all()


def test_a_hand_that_is_cut_by_its_picture_is_not_pasted_elsewhere() -> None:
    drawn = draw_phantom(100, "male", height_px=400, markers=False)
    pixels, mask = np.uint8(drawn.radiograph.pixels * 255), drawn.mask.astype(np.uint8)
    whole = cut_out(Composite(pixels, mask, (0.0, 1.0)))
    assert whole is not None and whole.cut_below  # the forearm leaves the picture, as it always does
    columns = np.flatnonzero(mask.any(axis=0))
    through_the_thumb = np.s_[:, : int(columns[-1]) - 12]
    assert cut_out(Composite(pixels[through_the_thumb].copy(), mask[through_the_thumb].copy(), (0.0, 1.0))) is None
    assert cut_out(Composite(pixels, mask, (1.0, 0.0))) is None  # lies on its side


def test_outlines_seen_to_be_wrong_and_other_splits_teach_nothing() -> None:
    wrong, first = min(WRONG), max(WRONG) + 1
    ids = [wrong, first, first + 1, first + 2]
    labels = pd.DataFrame(
        {"split": ["train", "train", "val", "test"], "bone_age_months": 100.0, "sex": "male"}, index=ids
    )
    samples = [Sample(i, Path(f"rsna_hires/{i}.jpg"), "sharp", None) for i in ids]
    assert [s.rsna_id for s in choose(samples, labels, 10, seed=0)] == [first]


def test_a_fitted_hand_held_out_for_measuring_is_in_no_training(tmp_path: Path) -> None:
    fitted, outlines = tmp_path / "rsna_fitted", tmp_path / "outlines"
    fitted.mkdir()
    outlines.mkdir()
    rows = []
    for i, name in enumerate(range(101, 109)):
        drawn = draw_phantom(100 + i, "male", seed=i, height_px=300, markers=False)
        pixels, mask = np.uint8(drawn.radiograph.pixels * 255), np.uint8(drawn.mask * 255)
        cv2.imwrite(str(fitted / f"{name}.png"), np.where(mask > 0, np.maximum(pixels, 1), 0))
        cv2.imwrite(str(outlines / f"sharp_{name}.png"), pixels)
        cv2.imwrite(str(outlines / f"sharp_{name}_mask.png"), mask)
        rows.append({"image": f"sharp_{name}.png", "mask": f"sharp_{name}_mask.png", "right": 0.0, "up": 1.0})
    pd.DataFrame(rows).to_csv(outlines / "hands.csv", index=False)
    training, validation = further_sets(HAND, (fitted,), outlines, 128, 10, seed=1, drawn_hands=5)
    named = {
        radiograph.name for pictures in (training, validation) for radiograph in pictures.radiographs if radiograph.name
    }
    assert named == {f"sharp_{name}" for name in range(101, 109)} - {"sharp_101", "sharp_107"}
    image, mask, _weight, answers = training[0]
    assert image.shape == (1, 128, 128) and bool(mask.any()) == bool(answers[0])


def test_fields_are_among_what_the_network_is_shown(hands: list[CutOut]) -> None:
    radiograph = draw_hands(UNSEEN_SEEDS[:1], 300)[0]
    plain = HandPictures([radiograph], [], [], HAND, side_px=128, length=30, seed=1, steady=True)
    fields = HandPictures([radiograph], [], [], HAND, side_px=128, length=30, seed=1, steady=True, pasted_hands=hands)
    assert sum(not np.array_equal(plain[i][0], fields[i][0]) for i in range(30)) > 8
    assert {bool(fields[i][3][0]) for i in range(30)} == {True, False}


def test_a_contact_sheet_draws_the_outline_and_marks_what_was_refused(tmp_path: Path) -> None:
    pixels, mask = np.full((80, 60), 90, np.uint8), np.zeros((80, 60), bool)
    mask[20:60, 15:45] = True
    contact_sheet([("1", pixels, mask), ("2 refused", pixels, None)], tmp_path / "sheet.png", side_px=80, columns=2)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    green = (sheet[..., 1] > 200) & (sheet[..., 0] < 60)
    assert sheet.shape == (80, 160, 3)
    assert green[:, :80].any() and not green[:, 80:].any()


def outline(assessor: Assessor, pixels: np.ndarray) -> np.ndarray | None:
    """The shipped network's mask; None if it refuses."""
    try:
        return find_hand(Radiograph(pixels), *assessor.outline_networks).pixels
    except (HandNotFound, SeveralHands):
        return None


def test_hands_in_collimated_fields_are_outlined(assessor: Assessor, hands: list[CutOut]) -> None:
    """A mean of 0.98 and none under 0.93 is the aim (train/RUNS.md); this holds what is reached."""
    scores = []
    for i in range(12):
        hand, generator = hands[i % len(hands)], np.random.default_rng((5, i))
        frame = collimated(hand, generator, hands, [], fill=(0.3, 0.9))
        scores.append(outline_dice(outline(assessor, frame.pixels), frame))
    assert np.mean(scores) > 0.965, sorted(scores)[:6]
    assert sum(score < 0.93 for score in scores) <= 1


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
def test_the_drawn_examples_keep_the_tip_of_the_thumb(
    assessor: Assessor, label: str, months: float, sex: str, seed: int
) -> None:
    drawn = draw_phantom(months, sex, seed=seed)  # type: ignore[arg-type]
    found = outline(assessor, drawn.radiograph.pixels)
    assert found is not None
    assert (found & drawn.mask).sum() > 0.975 * (found | drawn.mask).sum()
    length = float(np.hypot(*np.subtract(drawn.landmarks["wrist"], drawn.landmarks["middle_finger4"])))
    row, column = (round(v) for v in drawn.landmarks["thumb4"])
    radius = round(0.08 * length)
    near = np.s_[max(0, row - radius) : row + radius, max(0, column - radius) : column + radius]
    outside = cv2.distanceTransform((~found).astype(np.uint8), cv2.DIST_L2, 5)
    assert (outside[near] * drawn.mask[near]).max() < 0.01 * length
