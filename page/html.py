"""Small pieces of HTML that every tab uses."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from baa_core.reporting.overlays import Bytes, encode_png
from baa_core.reporting.text import years_and_months
from baa_core.types import Caution, Report

DRAWN_TAG = '<span class="baa-tag">drawn, not a patient</span>'


CHILD: Mapping[str, str] = {"female": "a girl", "male": "a boy"}


NEUTRAL = (
    "Something went wrong on this side, and no estimate was made. The picture was not kept. "
    "Please try again; if it happens again, tell us which steps led here."
)


NO_PICTURE = "No radiograph has been chosen yet. Choose a file or a drawn example, and press the button again."


def refusal(sentence: str, what: str = "Not assessed") -> str:
    """The card shown in place of a result."""
    return (
        f'<section class="baa-card baa-refusal" role="alert"><p class="baa-eyebrow">{what}</p>'
        f"<p>{escape(sentence)}</p></section>"
    )


def sexes_row(report: Report) -> str:
    """Both estimates, when it is open which one is meant."""
    if report.sex_entered is not None and not report.sex_mismatch:
        return ""
    pairs = (("If a girl", report.bone_age_if_female_months), ("If a boy", report.bone_age_if_male_months))
    cells = "".join(
        f"<div><dt>{label}</dt><dd>{years_and_months(months)} <span>({months:.1f} months)</span></dd></div>"
        for label, months in pairs
    )
    return f'<dl class="baa-sexes">{cells}</dl>'


def please_note(cautions: Sequence[Caution]) -> str:
    """The cautions that belong beside a number; "" without any."""
    items = "".join(f"<li>{escape(caution.message)}</li>" for caution in cautions)
    return f'<div class="baa-cautions"><p>Please note</p><ul>{items}</ul></div>' if items else ""


def json_link(values: Mapping[str, Any], element: str, file: str) -> str:
    """A link that holds plain values as a JSON file, so that nothing has to be written on the server."""
    content = base64.b64encode(json.dumps(values, indent=2).encode()).decode()
    return (
        f'<a class="baa-link" id="{element}" download="{file}" '
        f'href="data:application/json;base64,{content}">Download as JSON</a>'
    )


def table(head: tuple[str, str], rows: Mapping[str, str]) -> str:
    """A two-column table."""
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return (
        f'<table class="baa-table"><thead><tr><th scope="col">{head[0]}</th><th scope="col">{head[1]}</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def buttons(file: str) -> str:
    """The two buttons under a picture: keep it as a file of this name, see it on the full screen."""
    return f"""<span class="baa-buttons">
  <a class="baa-link" role="button" tabindex="0" download="{file}" href="#"
     onclick="this.href = this.closest('figure').querySelector('img').src">Download</a>
  <button type="button" class="baa-link" onclick="const f = this.closest('figure');
     document.fullscreenElement ? document.exitFullscreen() : f.requestFullscreen()">Full screen</button>
  </span>"""


PNG_HEADER_BYTES = 33  # signature and the IHDR chunk, which comes first


def address_of(picture: Bytes, words: str = "") -> str:
    """A picture as an address that holds it, with words in its file if there are any."""
    png = encode_png(picture)
    return data_address(captioned(png, words) if words else png)


def data_address(png: bytes) -> str:
    """The bytes of a PNG file as an address that holds them."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def captioned(png: bytes, words: str) -> bytes:
    """A PNG with a description in its metadata (iTXt, after the header): a kept file says what it is."""
    content = b"iTXt" + b"Description\0" + b"\0\0" + b"\0" + b"\0" + words.encode()
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:PNG_HEADER_BYTES] + chunk + png[PNG_HEADER_BYTES:]
