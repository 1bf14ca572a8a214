from dataclasses import replace

import cv2
import numpy as np
import pytest

from baa_core.errors import HandCutOff, QualityTooLow
from baa_core.hand.quality import (
    Framing,
    HandGreys,
    about_foreign_material,
    about_processing,
    check_quality,
    check_whole,
    measure_framing,
)
from baa_core.io import read_radiograph
from baa_core.phantom import EXAMPLES, Phantom
from baa_core.types import HandMask, Radiograph
from baa_core.workflows.assess import Assessor
from tests import everyday
from tests.conftest import Labelled
from tests.drawn import draw_phantom


@pytest.fixture(scope="module")
def drawn() -> Phantom:
    """A girl of ten years, 1000 x 800 px."""
    return draw_phantom(120.0, "female", seed=10)


def seen(pixels: np.ndarray, mask: np.ndarray, tilt_degrees: float = 0.0) -> tuple[Radiograph, HandMask]:
    """Pixels as an 8-bit file stores them and the reader stretches them."""
    grey = np.round(np.clip(pixels, 0, 1) * 255).astype(np.float32)
    grey = (grey - grey.min()) / np.ptp(grey)
    return Radiograph(np.ascontiguousarray(grey), name="hand.png"), HandMask(
        np.ascontiguousarray(mask), 1.0, tilt_degrees, inverted=False
    )


def refuse_cut(radiograph: Radiograph, hand: HandMask) -> None:
    """All that is checked where no joints are placed."""
    check_quality(HandGreys(radiograph, hand))
    check_whole(hand, radiograph.name)


def row_of(drawn: Phantom, *names: str) -> int:
    return round(float(np.mean([drawn.landmarks[name][0] for name in names])))


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
def test_a_drawn_hand_is_good_enough(label: str, months: float, sex: str, seed: int) -> None:
    for height_px in (200, 1000):
        drawn = draw_phantom(months, sex, seed=seed, height_px=height_px)  # type: ignore[arg-type]
        refuse_cut(*seen(drawn.radiograph.pixels, drawn.mask))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_hand_is_measured_like_an_upright_one(drawn: Phantom, quarters: int) -> None:
    tilt = {0: 0.0, 1: -90.0, 2: 180.0, 3: 90.0}[quarters]
    whole = measure_framing(HandMask(drawn.mask.copy(), 1.0, 0.0, False))
    turned = measure_framing(HandMask(np.ascontiguousarray(np.rot90(drawn.mask, quarters)), 1.0, tilt, False))
    assert turned.finger_reach_palms == pytest.approx(whole.finger_reach_palms, abs=0.03)
    assert turned.wrist_reach_palms == pytest.approx(whole.wrist_reach_palms, abs=0.03)
    assert turned.wrist_on_edge_palms == pytest.approx(whole.wrist_on_edge_palms, abs=0.05)
    assert turned.fingers_on_edge_palms == 0.0
    refuse_cut(*seen(np.rot90(drawn.radiograph.pixels, quarters), np.rot90(drawn.mask, quarters), tilt))


def test_an_empty_mask_has_no_length() -> None:
    assert measure_framing(HandMask(np.zeros((40, 30), bool), 0.0, 0.0, False)) == Framing(0)


def test_known_shapes_measure_as_drawn() -> None:
    """A square palm of 60 px that stands on the lower edge, with a finger of 100 px above it."""
    mask = np.zeros((256, 200), bool)
    mask[196:, 70:130] = True
    mask[96:196, 95:105] = True
    framing = measure_framing(HandMask(mask, 1.0, 0.0, False))
    assert framing.length_px == 160
    assert framing.finger_reach_palms == pytest.approx(130 / 60, abs=0.1)
    assert framing.wrist_on_edge_palms == pytest.approx(1.0, abs=0.1)
    assert framing.fingers_on_edge_share == 0.0


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_missing_fingers_are_refused_however_the_radiograph_lies(drawn: Phantom, quarters: int) -> None:
    top = row_of(drawn, "forefinger2", "middle_finger2", "ring_finger2")
    pixels, mask = (np.rot90(a[top:], quarters) for a in (drawn.radiograph.pixels, drawn.mask))
    tilt = {0: 0.0, 1: -90.0, 2: 180.0, 3: 90.0}[quarters]
    with pytest.raises(HandCutOff, match=r"fingers in hand\.png are cut off: \d\.\d palm widths.*whole radiograph"):
        refuse_cut(*seen(pixels, mask, tilt))


def test_a_missing_wrist_is_refused(drawn: Phantom) -> None:
    bottom = row_of(drawn, "wrist")
    with pytest.raises(HandCutOff, match=r"wrist in hand\.png is cut off: .* 0\.\d palm widths.*radius and ulna"):
        refuse_cut(*seen(drawn.radiograph.pixels[:bottom], drawn.mask[:bottom]))


def test_a_forearm_that_leaves_the_picture_is_as_it_should_be(drawn: Phantom) -> None:
    bottom = row_of(drawn, "wrist") + round(0.12 * drawn.mask.shape[0])
    refuse_cut(*seen(drawn.radiograph.pixels[:bottom], drawn.mask[:bottom]))


def grainy(pixels: np.ndarray) -> np.ndarray:
    return pixels * 0.25 + 0.4 + np.random.default_rng(0).normal(0, 0.1, pixels.shape)


DAMAGES = {
    "greys": lambda pixels: pixels * 0.02,
    "pure black or white": lambda pixels: pixels * 6,
    "grainy": grainy,
    "blurred": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 15),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_named_with_its_measure(drawn: Phantom, damage: str) -> None:
    pixels = np.array(drawn.radiograph.pixels)
    with pytest.raises(QualityTooLow, match=rf"The hand in hand\.png .*{damage}.*original file") as wrong:
        check_quality(HandGreys(*seen(DAMAGES[damage](pixels), drawn.mask)))
    assert any(character.isdigit() for character in str(wrong.value))


def test_a_silhouette_is_flat(drawn: Phantom) -> None:
    """Thicker towards the wrist, with a little fine texture but no bone."""
    thickness = np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
    texture = np.random.default_rng(0).normal(0, 0.004, (250, 200)).astype(np.float32)
    pixels = drawn.mask * (0.2 + 0.6 * thickness) + cv2.resize(texture, (800, 1000))
    with pytest.raises(QualityTooLow, match="flat: bone makes up"):
        check_quality(HandGreys(*seen(pixels, drawn.mask)))


def test_wrong_polarity_makes_no_difference(drawn: Phantom) -> None:
    radiograph, hand = seen(1.0 - drawn.radiograph.pixels, drawn.mask)
    check_quality(HandGreys(radiograph, replace(hand, inverted=True)))


def test_a_tiny_hand_is_refused_even_in_a_huge_picture(drawn: Phantom) -> None:
    small = cv2.resize(drawn.radiograph.pixels, (40, 50), interpolation=cv2.INTER_AREA)
    pixels, mask = np.zeros((6000, 6000), np.float32), np.zeros((6000, 6000), bool)
    pixels[3000:3050, 3000:3040] = small
    mask[3000:3050, 3000:3040] = cv2.resize(drawn.mask.astype(np.uint8), (40, 50)) > 0
    with pytest.raises(QualityTooLow, match=r"only \d\d pixels long, 60 are the least"):
        check_quality(HandGreys(*seen(pixels, mask)))


@pytest.mark.parametrize("bone_dark", [False, True])
@pytest.mark.parametrize(("kind", "told"), [(everyday.splint, True), (everyday.ring, True), (None, False)])
def test_metal_on_a_finger_is_told_and_no_bone(
    drawn: Phantom, kind: everyday.Variant | None, told: bool, bone_dark: bool
) -> None:
    hand = everyday.Hand(np.array(drawn.radiograph.pixels), drawn.mask, drawn.landmarks)
    pixels = hand.pixels if kind is None else kind(hand, np.random.default_rng(0))
    radiograph, found = seen(1 - pixels if bone_dark else pixels, drawn.mask)
    cautions = about_foreign_material(HandGreys(radiograph, replace(found, inverted=bone_dark)))
    assert [caution.code for caution in cautions] == told * ["foreign_material"]


def test_of_real_radiographs_those_with_metal_are_told(assessor: Assessor, sharp_val: list[Labelled]) -> None:
    """A splint and a ring on each of three; measured on more in `quality`."""
    told = 0
    for labelled in sharp_val[2:9:3]:
        plain = read_radiograph(labelled.content, labelled.name)
        hand = assessor.find_hand(plain)
        assert about_foreign_material(HandGreys(plain, hand)) == ()
        assert hand.landmarks is not None
        bright = 1 - plain.pixels if hand.inverted else plain.pixels
        real = everyday.Hand(bright, hand.pixels, hand.landmarks.points)
        for kind in (everyday.splint, everyday.ring):
            radiograph, found = seen(kind(real, np.random.default_rng(0)), hand.pixels, hand.tilt_degrees)
            told += bool(about_foreign_material(HandGreys(radiograph, found)))
    assert told >= 5


PROCESSED = {
    "same contrast everywhere": everyday.clahe,
    "edges are strongly sharpened": everyday.unsharp,
    "as bright as in an equalised": everyday.equalised,
    "hard bone window": everyday.bone_window,
}


def processed(pixels: np.ndarray, mask: np.ndarray, said: str) -> np.ndarray:
    """A picture with bone bright after one kind of processing."""
    rows = np.flatnonzero(mask.any(axis=1))
    ends = {"middle_finger4": (float(rows[0]), 0.0), "wrist": (rows[0] + 0.75 * np.ptp(rows), 0.0)}
    return PROCESSED[said](everyday.Hand(pixels, mask, ends), np.random.default_rng(0))


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
def test_ordinary_greys_are_not_called_processed(label: str, months: float, sex: str, seed: int) -> None:
    for height_px in (200, 500, 1000):
        drawn = draw_phantom(months, sex, seed=seed, height_px=height_px)  # type: ignore[arg-type]
        assert about_processing(HandGreys(*seen(drawn.radiograph.pixels, drawn.mask))) == ()


@pytest.mark.parametrize("bone_dark", [False, True])
@pytest.mark.parametrize("said", PROCESSED)
def test_strong_processing_is_told_by_its_kind(drawn: Phantom, said: str, bone_dark: bool) -> None:
    pixels = processed(np.array(drawn.radiograph.pixels), drawn.mask, said)
    radiograph, hand = seen(1 - pixels if bone_dark else pixels, drawn.mask)
    (caution,) = about_processing(HandGreys(radiograph, replace(hand, inverted=bone_dark)))
    assert caution.code == "strong_processing"
    assert said in caution.message


def test_of_real_radiographs_processed_ones_are_told_and_no_ordinary_one(
    assessor: Assessor, sharp_val: list[Labelled]
) -> None:
    """Four radiographs, four kinds: at least thirteen of sixteen; measured on more in `quality`."""
    told = 0
    for labelled in sharp_val[1:9:2]:
        plain = read_radiograph(labelled.content, labelled.name)
        (hand,) = assessor.find_hands(plain)
        assert about_processing(HandGreys(plain, hand)) == ()
        bright = 1 - plain.pixels if hand.inverted else plain.pixels
        for said in PROCESSED:
            changed = Radiograph(processed(bright, hand.pixels, said))
            found = assessor.find_hands(changed)[0]
            told += bool(about_processing(HandGreys(changed, found)))
    assert told >= 13
