"""The words of the Compare tab, as escaped HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

from baa_core.recipes import RECIPES
from baa_core.reporting.text import years_and_months
from baa_core.types import DISCLAIMER, Caution, MeasuredError, Report
from baa_core.workflows.compare import Compared, Spread, about_system, is_reimplementation, read_measured_errors

from .compare_view import Seen
from .html import CHILD, DRAWN_TAG, buttons, json_link, please_note, sexes_row

EMPTY = f"""
<section class="baa-card baa-empty" aria-live="polite">
  <p class="baa-empty-title">The comparison will appear here</p>
  <ol><li>Choose a radiograph and enter the sex, as for an assessment.</li>
  <li>Press the button above. The same picture goes to every system: {len(RECIPES)} in all.</li>
  <li>Each answer appears as soon as it is there. The first time takes longer, because networks are loaded.</li></ol>
</section>
"""
STOPPED = """
<section class="baa-card baa-empty" role="status">
  <p class="baa-empty-title">Stopped</p>
  <p>The comparison was not finished, and nothing was kept. Press the button to begin again.</p>
</section>
"""
TRACE_NOTE = """
<p class="baa-fine">What a system does to the radiograph before its network sees it, step by step. Where two systems
disagree, look first whether one of them saw a badly prepared picture.</p>
"""


def title(recipe: str) -> str:
    """A system as people call it."""
    return RECIPES[recipe].title


def under_way(answered: int) -> str:
    """The card on top while systems are still asked."""
    return (
        '<section class="baa-card baa-empty" role="status">'
        f'<p class="baa-empty-title">Comparing: {answered} of {len(RECIPES)} systems have answered</p>'
        "<p>One system is asked after another.</p></section>"
    )


def waiting(recipe: str, says: str) -> str:
    """A system's card before its answer."""
    return (
        f'<section class="baa-card baa-empty"><p class="baa-empty-title">{escape(title(recipe))}</p><p>{says}</p>'
        "</section>"
    )


def system_card(compared: Compared, heatmap: str, network_input: Seen | None) -> str:
    """One system's answer with its two pictures, or its refusal in one sentence.

    Args:
        compared: the answer or refusal.
        heatmap: address of the heatmap on the radiograph; not used for a refusal.
        network_input: the last picture of its trace; None for a refusal.
    """
    name = title(compared.recipe)
    if compared.report is None or network_input is None:
        return (
            f'<section class="baa-card baa-refusal" role="status" aria-label="{escape(name)}">'
            f'<p class="baa-eyebrow">{escape(name)}: not assessed</p><p>{escape(str(compared.refusal))}</p></section>'
        )
    pictures = _figure(heatmap, f"{name}: heatmap", f"{compared.recipe}-heatmap.png", "Heatmap")
    saw = "What the network saw"
    pictures += _figure(network_input.address, f"{name}: {saw.lower()}", f"{compared.recipe}-seen.png", saw)
    return f"""
<section class="baa-card baa-result baa-system" role="status" aria-label="{escape(name)}">
  <p class="baa-eyebrow">{escape(name)}, for {CHILD[compared.report.prediction.sex_used]}</p>
  {_answer(compared.report)}
  {folded(compared.report.cautions)}
  <div class="baa-pictures">{pictures}</div>
  <p class="baa-fine">{escape(about(compared.recipe))}</p>
  <p class="baa-fine"><span>{compared.seconds:.1f} seconds.</span> {source(compared.recipe)}</p>
</section>
"""


def folded(cautions: Sequence[Caution]) -> str:
    """A system's cautions, folded: most are the same for all systems, and stand on the top card. "" without any."""
    items = "".join(f"<li>{escape(caution.message)}</li>" for caution in cautions)
    said = f"<summary>Cautions: {len(cautions)}</summary><ul>{items}</ul>"
    return f'<details class="baa-cautions">{said}</details>' if items else ""


def source(recipe: str) -> str:
    """After which publication a system is; its title stays in its own language."""
    kept = ' translate="no"' if is_reimplementation(recipe) else ""
    return f"<span>Source:</span> <cite{kept}>{escape(RECIPES[recipe].citation)}.</cite>"


@cache
def measured() -> Mapping[str, MeasuredError]:
    """Each system's error on the test radiographs; read once."""
    return read_measured_errors()


def about(recipe: str) -> str:
    """What a system is, and its error here: in words, so that nobody takes it for the published one."""
    return about_system(recipe, measured().get(recipe))


def _answer(report: Report) -> str:
    """The bone age and its interval; both sexes where it is open which one is meant."""
    low, high = report.prediction.interval_months
    months = report.prediction.bone_age_months
    return f"""<p class="baa-age">{years_and_months(months)}</p>
  <p class="baa-months">{months:.1f} months</p>
  <p class="baa-interval">90 % interval: <strong>{years_and_months(low)}</strong> to
  <strong>{years_and_months(high)}</strong> <span>({low:.0f} to {high:.0f} months)</span></p>
  {sexes_row(report)}"""


def _figure(address: str, shown: str, file: str, caption: str = "") -> str:
    """A picture with what it shows, in fewer words where the card around it says whose it is, and its two buttons."""
    return f"""
<figure class="baa-picture">
  <img src="{address}" alt="{escape(shown)}">
  <figcaption><span>{escape(caption or shown)}</span>{buttons(file)}</figcaption>
</figure>
"""


def card(spread: Spread, values: Mapping[str, Any], drawn: bool, cautions: Sequence[Caution] = ()) -> str:
    """The card on top at the end: how far the systems lie apart, disclaimer, everything as JSON.

    Args:
        spread: of all answers.
        values: the whole comparison as `compare.to_dict` makes it.
        drawn: the picture is no patient's.
        cautions: that every system which answered has.
    """
    low, high = spread.low_months, spread.high_months
    ends = ""
    if low is not None and high is not None and spread.spread_months is not None:
        ends = (
            f'<p class="baa-verdict">Estimates {spread.spread_months:.1f} months apart</p>'
            f"<p>Lowest: {years_and_months(low)}. Highest: {years_and_months(high)}. The distance between them is no "
            "interval: each system has its own, below.</p>"
        )
    return f"""
<section class="baa-card baa-result" role="status" aria-live="polite" aria-label="Comparison">
  <p class="baa-eyebrow">All systems on the same radiograph {DRAWN_TAG if drawn else ""}</p>
  {ends}
  <p>{escape(spread.sentence)}</p>
  {please_note(cautions)}
  <p class="baa-fine">{escape(DISCLAIMER)} {json_link(values, "baa-compare-json", "bone-age-comparison.json")}</p>
</section>
"""


def trace_picture(seen: Seen, number: int, of: int, recipe: str) -> str:
    """One step of a system's preprocessing."""
    return _figure(seen.address, f"{title(recipe)}, step {number} of {of}: {seen.title}", f"{recipe}-step-{number}.png")
