"""The words of the Help tab, as HTML."""

from __future__ import annotations

import re
from html import escape

from baa_core.phantom.requirements import REQUIREMENTS
from baa_core.types import DISCLAIMER

PICTURES = "baa-help"  # the path under which the server draws them
NEEDED = "Which radiograph is needed"
NEEDED_LINES = (
    "One hand, seen from the front (palm or back), with the fingers apart and straight.",
    "The whole hand, the wrist and the ends of both forearm bones, radius and ulna, whose growth plates count most.",
    "The original file, DICOM or PNG, not a photograph of a screen.",
    "Children of 1 month to 18 years; the estimate is for the sex that is entered.",
)
CAPTIONS = {
    "whole": ("Whole hand with wrist", "Fingers apart, ends of radius and ulna in the picture."),
    "side": ("On its side", "The hand may lie in any direction: it is turned upright."),
    "dark": ("Bone dark", "The greys are reversed before the estimate, and the result says so."),
    "fingers": (
        "Fingers cut off",
        "Use the whole radiograph. With one fingertip missing the interval is wider.",
    ),
    "wrist": ("Wrist cut off", "The growth plates of radius and ulna must be in the picture."),
    "two": ("Two hands", "You are asked which one is meant. Or crop the picture to one hand."),
    "blurred": ("Blurred", "No growth plate can be seen. Use the original file or a sharp radiograph."),
    "white": ("Overexposed", "Where the picture is white, bones do not show. Export it with another window."),
}
ACCEPTED, REFUSED = "Assessed", "Refused"
CONTROLS_TITLE = "What each control does"
CONTROLS = (
    ("Hand radiograph", "The file. It is read into memory, deleted from disk at once and forgotten when you leave."),
    ("Sex", "Chooses the estimate for a girl or a boy. Unknown: the sex is predicted, and the interval covers both."),
    ("Age", "Only compared with the estimate: SD score, growth chart, cautions. It never changes the estimate."),
    ("Assess", "Finds the hand, checks it, estimates the bone age with its 90 % interval, and makes the heatmap."),
    ("Change the picture by hand", "Turns, mirrors, inverts or crops the picture first. Every report says so."),
    ("Report", "The same content as text, PDF, JSON, FHIR or DICOM. No report names the patient."),
    ("Viewer", "Zoom (+, -, wheel, pinch), move (drag, arrows), window and level (sliders, Shift and drag), layers."),
    ("Growth chart", "SD score by one of two conventions; earlier assessments make a trend with its velocity."),
    ("Explain", "Which parts of the hand moved the estimate, and whether that explanation can be relied on."),
    (
        "Compare",
        "The same radiograph by six systems: one of this project's own, five rebuilt after publications.",
    ),
    ("Batch", "Many radiographs, one row each, with the command line's CSV."),
    ("Learn", "A drawn hand from birth to 19 years, and a lesson in reading."),
)
CARD_TITLE = "Model card"
CARD_NOTE = '<p class="baa-fine">The model card below is the file weights/README.md of this project, in English.</p>'
LINKS = (
    '<nav class="baa-links" aria-label="Help"><button type="button" class="baa-link" data-baa-help="baa-needed">'
    'Which radiograph?</button><button type="button" class="baa-link" data-baa-help="baa-model-card">'
    "Model card</button></nav>"
)


def needed() -> str:
    """Which radiograph is needed, with the drawn pictures."""
    lines = "".join(f"<li>{escape(line)}</li>" for line in NEEDED_LINES)
    pictures = "".join(_picture(each.name, each.refused) for each in REQUIREMENTS)
    return f"""
<section id="baa-needed" tabindex="-1" aria-label="{NEEDED}"><h2>{NEEDED}</h2><ul class="baa-needed-lines">{lines}</ul>
<div class="baa-needed">{pictures}</div>
<p class="baa-fine">All pictures are drawn; no child's radiograph is among them. {escape(DISCLAIMER)}</p></section>
"""


def _picture(name: str, refused: str) -> str:
    title, sentence = CAPTIONS[name]
    verdict, kind = (REFUSED, "baa-failed") if refused else (ACCEPTED, "baa-passed")
    return (
        f'<figure class="baa-need"><img src="{PICTURES}/{name}.webp" alt="Drawn radiograph: {escape(title)}" '
        f'loading="lazy" width="200" height="250"><figcaption><strong class="{kind}">{verdict}</strong>'
        f"<strong>{escape(title)}</strong><span>{escape(sentence)}</span></figcaption></figure>"
    )


def controls() -> str:
    """What each control does, as a list."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(what)}</dd>" for name, what in CONTROLS)
    title = f"<h2>{CONTROLS_TITLE}</h2>"
    return f'<section aria-label="{CONTROLS_TITLE}">{title}<dl class="baa-controls">{items}</dl></section>'


def model_card(markdown: str) -> str:
    """The model card without its front matter, and without links to files beside it, which the page does not serve."""
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?://)[^)]*\)", r"\1", text).replace("\n# ", "\n## ", 1)
