"""Edges that were strongly sharpened are as they were before the estimate; nothing else counts as sharpened."""

import cv2
import numpy as np
import pytest

from baa_core.errors import HandRefused
from baa_core.hand.quality import HandGreys
from baa_core.hand.sharpening import measure_sharpening, without_sharpening
from baa_core.phantom import EXAMPLES
from baa_core.types import HandMask, Patient, Radiograph
from baa_core.workflows.assess import Assessor
from tests import everyday
from tests.conftest import Labelled
from tests.drawn import draw_phantom


@pytest.fixture(scope="module")
def hand() -> everyday.Hand:
    return everyday.drawn_hand()


def greys(pixels: np.ndarray, hand: everyday.Hand) -> HandGreys:
    """As an 8-bit file stores them."""
    stored = np.round(np.clip(pixels, 0, 1) * 255) / 255
    return HandGreys(
        Radiograph(np.ascontiguousarray(stored, np.float32)), HandMask(np.array(hand.mask), 1.0, 0.0, inverted=False)
    )


@pytest.mark.parametrize("amount", [1.5, 2.0, 3.0])
def test_how_much_was_sharpened_is_found_and_undone(hand: everyday.Hand, amount: float) -> None:
    sharp = greys(everyday.unsharp(hand, np.random.default_rng(0), amount), hand)
    found = measure_sharpening(sharp)
    assert found is not None
    assert found.amount == pytest.approx(amount, rel=0.2)
    undone = without_sharpening(sharp.radiograph, found).pixels
    before, after = (np.abs(pixels - hand.pixels)[hand.mask].mean() for pixels in (sharp.radiograph.pixels, undone))
    assert after < before / 2.5
    assert undone.min() >= 0.0
    assert undone.max() <= 1.0


def test_a_large_radiograph_is_undone_as_a_small_one(hand: everyday.Hand) -> None:
    """On a coarse grid: at full size the blurs of a hand of 7,000 px would take minutes."""
    small = greys(everyday.unsharp(hand, np.random.default_rng(0)), hand)
    size = (4 * hand.pixels.shape[1], 4 * hand.pixels.shape[0])
    pixels = cv2.resize(small.radiograph.pixels, size, interpolation=cv2.INTER_CUBIC)
    mask = cv2.resize(hand.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    large = greys(pixels, everyday.Hand(pixels, mask, {}))
    undone = []
    for each in (small, large):
        found = measure_sharpening(each)
        assert found is not None
        undone.append(without_sharpening(each.radiograph, found).pixels)
    reduced = cv2.resize(undone[1], hand.pixels.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduced - undone[0])[hand.mask].mean() < 0.02


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
def test_a_drawn_radiograph_is_left_as_it_is(label: str, months: float, sex: str, seed: int) -> None:
    for height_px in (200, 500, 1000):
        drawn = draw_phantom(months, sex, seed=seed, height_px=height_px)  # type: ignore[arg-type]
        plain = everyday.Hand(np.array(drawn.radiograph.pixels), drawn.mask, {})
        assert measure_sharpening(greys(plain.pixels, plain)) is None
        assert without_sharpening(drawn.radiograph, None) is drawn.radiograph


@pytest.mark.parametrize("kind", [everyday.splint, everyday.ring, everyday.burned_text])
def test_edges_of_metal_and_letters_are_no_sharpening(hand: everyday.Hand, kind: everyday.Variant) -> None:
    assert measure_sharpening(greys(kind(hand, np.random.default_rng(0)), hand)) is None


def test_what_was_read_again_is_explained_as_it_was_assessed(assessor: Assessor, hand: everyday.Hand) -> None:
    """The page lets pixels go and reads the file again; the findings know what was undone."""
    content = everyday.png(everyday.unsharp(hand, np.random.default_rng(0)))
    findings = assessor.find(content)
    assert findings.sharpening is not None
    again = findings.without_pixels().of(findings.radiograph)
    np.testing.assert_array_equal(again.unsharpened.pixels, findings.unsharpened.pixels)
    assert np.abs(findings.unsharpened.pixels - findings.radiograph.pixels).max() > 0.1
    (said,) = (c for c in assessor.report(findings, Patient(sex="female")).cautions if c.code == "sharpening_reduced")
    assert "edges of this picture were strongly sharpened" in said.message


def test_real_radiographs_keep_their_months_when_their_edges_are_sharpened(
    assessor: Assessor, sharp_val: list[Labelled]
) -> None:
    """By up to 8.2 months they moved before (`python -m train robustness --processing` measures 30)."""
    changes = []
    for labelled in sharp_val[2:11:3]:
        sex = Patient(sex="female" if labelled.sex == "female" else "male")
        plain = assessor.assess(labelled.content, sex, name=labelled.name)
        assert "sharpening_reduced" not in {caution.code for caution in plain.cautions}
        assert plain.hand.landmarks is not None
        pixels = 1 - plain.radiograph.pixels if plain.hand.inverted else plain.radiograph.pixels
        real = everyday.Hand(pixels, plain.hand.pixels, plain.hand.landmarks.points)
        try:
            sharp = assessor.assess(everyday.png(everyday.unsharp(real, np.random.default_rng(0))), sex)
        except HandRefused as refusal:
            pytest.fail(f"{labelled.name}: {refusal}")
        assert "sharpening_reduced" in {caution.code for caution in sharp.cautions}
        changes.append(abs(sharp.prediction.bone_age_months - plain.prediction.bone_age_months))
    assert max(changes) < 4.0
