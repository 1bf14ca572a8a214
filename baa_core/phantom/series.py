"""One drawn child from birth to 19 years: small pictures with the outlines of their bones, for teaching.

They are kept beside the code because drawing them takes longer than a visitor waits (154 pictures, about 0.3 s each on
one core). After a change of the phantom they are drawn anew by

    python -m baa_core.phantom.series

and `tests/unit/phantom/test_series.py` fails until that was done. With `--sheet FILE` a contact sheet of what is kept
is written instead, 24 ages of each sex.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import SEXES, Sex
from . import Phantom, bone_outlines, draw_phantom

STEP_MONTHS: Final = 3
LAST_MONTHS: Final = 228  # 19 years: the boys' radius is fused
STOPS: Final = tuple(range(0, LAST_MONTHS + 1, STEP_MONTHS))
SEED: Final = 6  # one child, straight and in the middle of the picture
HEIGHT_PX: Final = 640
WEBP_QUALITY: Final = 80
_OUTLINE_ACCURACY_PX = 0.4


def read_series(sex: Sex) -> bytes:
    """The series of one sex as gzip-compressed JSON.

    Returns:
        gzip of {"sex", "step_months", "width", "height", "stops"}; `stops` in order of age, each with "months",
        "picture" (a WebP file in base64) and "bones", the names of `phantom.bone_outlines` to "x,y x,y ..." in pixels.
    """
    return files(__package__).joinpath(_file(sex)).read_bytes()


def draw_series(sex: Sex, stops: tuple[int, ...] = STOPS) -> dict[str, Any]:
    """Draw what `read_series` gives, about 0.3 s a stop."""
    drawn = [draw_stop(months, sex) for months in stops]
    width = round(0.8 * HEIGHT_PX)
    return {"sex": sex, "step_months": STEP_MONTHS, "width": width, "height": HEIGHT_PX, "stops": drawn}


def phantom_at(months: float, sex: Sex) -> Phantom:
    """The hand of the series at one bone age, with the truth about it."""
    return draw_phantom(months, sex, seed=SEED, height_px=HEIGHT_PX, markers=False)


def draw_stop(months: float, sex: Sex) -> dict[str, Any]:
    """One picture of the series with the outlines of its bones."""
    phantom = phantom_at(months, sex)
    grey = np.round(phantom.radiograph.pixels * 255).astype(np.uint8)
    picture = cv2.imencode(".webp", grey, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])[1].tobytes()
    outlines = bone_outlines(months, sex, seed=SEED, height_px=HEIGHT_PX)
    bones = {}
    for name, outline in outlines.items():
        few = cv2.approxPolyDP(outline.astype(np.float32), _OUTLINE_ACCURACY_PX, True)[:, 0]
        bones[name] = " ".join(f"{column:.1f},{row:.1f}" for column, row in few)
    return {"months": months, "picture": base64.b64encode(picture).decode(), "bones": bones}


def _file(sex: Sex) -> str:
    return f"series_{sex}.json.gz"


def contact_sheet() -> NDArray[np.uint8]:
    """24 ages of each sex from what is kept, 12 in a row, girls above boys; grey (H, W)."""
    rows = []
    for sex in SEXES:
        stops = json.loads(gzip.decompress(read_series(sex)))["stops"]
        chosen = [stops[round(place)] for place in np.linspace(0, len(stops) - 1, 24)]
        tiles = [_tile(stop["picture"], f"{sex[0].upper()} {stop['months'] / 12:.1f} y") for stop in chosen]
        rows += [np.hstack(tiles[:12]), np.hstack(tiles[12:])]
    return np.vstack(rows)


def _tile(picture: str, words: str) -> NDArray[np.uint8]:
    grey = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(np.asarray(grey), (176, 220), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.putText(small, words, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1, cv2.LINE_AA), np.uint8)


def main() -> None:
    """Draw both series and put them beside this file, or write a contact sheet."""
    parser = argparse.ArgumentParser(description="Draw the series of hands from birth to 19 years anew.")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="only write a contact sheet (PNG) of what is kept")
    options = parser.parse_args()
    if options.sheet is not None:
        options.sheet.write_bytes(cv2.imencode(".png", contact_sheet())[1].tobytes())
        return
    for sex in SEXES:
        content = json.dumps(draw_series(sex), separators=(",", ":")).encode()
        Path(__file__).with_name(_file(sex)).write_bytes(gzip.compress(content, 9, mtime=0))


if __name__ == "__main__":
    main()
