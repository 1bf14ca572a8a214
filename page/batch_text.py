"""The words of the Batch tab, as escaped HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from baa_core.evaluation.batch import AGE_COLUMN
from baa_core.evaluation.metrics import DASH, Evaluation
from baa_core.evaluation.pairs import REFERENCE_COLUMNS
from baa_core.evaluation.worklist import MOST_FILES, Row, Worklist
from baa_core.reporting.text import years_and_months
from baa_core.types import DISCLAIMER

from .batch_work import Done

INTRO = f"""
<p class="baa-fine">Assess up to {MOST_FILES} radiographs one after another. Give the files, or a zip of them, and a CSV
table with the columns <strong translate="no">file</strong> and <strong translate="no">sex</strong>
(F, M, female, male or unknown). Optional columns: <strong translate="no">chronological_age_months</strong>, and
<strong translate="no">bone_age_months</strong> as the reference to compare with.
Everything stays in memory and is forgotten when you leave.</p>
"""
EMPTY = """
<section class="baa-card baa-empty" aria-live="polite">
  <p class="baa-empty-title">The batch will appear here</p>
  <ol><li>Choose radiographs or a zip.</li>
  <li>Choose a CSV with a sex for each file, or one sex for all.</li>
  <li>Press Assess all. Each row appears as soon as it is done; cancel and go on as you like.</li></ol>
</section>
"""
SEX_OF_ALL = "Sex of all, where there is no table"
WHICH_HAND = "Where a picture shows several hands"
SEX_HELP = "The table's own sex goes before. Unknown: predicted from each radiograph."
HAND_HELP = "Rows with one hand are not assessed again when this changes."
REFUSE = "refuse"
HANDS = [
    ("Refuse it", REFUSE),
    ("Left side of the picture", "left"),
    ("Right side", "right"),
    ("Largest", "largest"),
]
WORDS = {"waiting": "waiting", "ok": "assessed", "refused": "refused"}
FIGURES_NOTE = "Estimate minus reference, months; 95 % bootstrap intervals in brackets; age bands by reference."


def go_label(done: int, total: int, running: bool = False) -> str:
    """What the button says."""
    if running:
        return "Working"
    if not total:
        return "Assess all"
    if not done:
        return f"Assess all {total}" if total > 1 else "Assess 1 radiograph"
    return f"Go on: {total - done} left" if done < total else "All done"


def card(
    work: Worklist, notes: Sequence[str], done: Sequence[Done], running: bool, seconds_left: float | None, csv: str,
    problem: str = "",
) -> str:  # fmt: skip
    """How far the batch is, what was noticed, and the results as CSV.

    Args:
        work: the rows.
        notes: what was noticed when files were taken.
        done: results so far.
        running: it goes on.
        seconds_left: estimated; None where it is not known.
        csv: the results so far; "" while running.
        problem: why the batch stopped by itself; "" if it did not.
    """
    if not work.rows and not notes and not work.read_back and not problem:
        return EMPTY
    total, refused = len(work.rows), sum(one.fields["status"] == "refused" for one in done)
    state = "Working" if running else "Finished" if total and len(done) == total else "Paused" if done else "Ready"
    counted = f"{len(done)} of {total} done" + (f", {refused} refused" if refused else "")
    if running and seconds_left is not None:
        counted += f"; about {_duration(seconds_left)} left"
    items = "".join(f"<li>{escape(note)}</li>" for note in (*notes, *work.notes))
    noted = f'<div class="baa-cautions"><p>Please note</p><ul>{items}</ul></div>' if items else ""
    read = f'<p class="baa-batch-read">{escape(work.read_back)}</p>' if work.read_back else ""
    stopped = f'<p class="baa-batch-problem" role="alert">{escape(problem)}</p>' if problem else ""
    link = ""
    if csv:
        content = base64.b64encode(csv.encode()).decode()
        counted_rows = f"{len(done)} row" + "s" * (len(done) != 1)
        link = (
            '<a class="baa-link" id="baa-batch-csv" download="bone-age-results.csv" '
            f'href="data:text/csv;charset=utf-8;base64,{content}">Download results as CSV ({counted_rows})</a>'
        )
    return f"""
<section class="baa-card baa-batch-status" role="status" aria-label="Batch">
  <p class="baa-eyebrow">{state}</p>
  <p class="baa-batch-count">{counted}</p>
  <progress class="baa-batch-progress" value="{len(done)}" max="{max(total, 1)}" aria-label="{counted}"></progress>
  {stopped}{read}{noted}
  <p class="baa-fine">{link} {escape(DISCLAIMER)}</p>
</section>
"""


def table(work: Worklist, results: Mapping[object, Done]) -> str:
    """All rows; what is not done yet says so."""
    if not work.rows:
        return ""
    rows = "".join(row_html(number, row, results.get(row.key)) for number, row in enumerate(work.rows))
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Radiograph", "File", "Sex", "Bone age", "Notes"))
    return f"""
<div class="baa-batch-scroll" tabindex="0" role="region" aria-label="Rows of the batch">
<table class="baa-table baa-batch-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
"""


def fed(number: int, row: Row, done: Done | None) -> str:
    """One row on its own; the page's script puts it in its place."""
    return f"<table><tbody>{row_html(number, row, done)}</tbody></table>"


def row_html(number: int, row: Row, done: Done | None) -> str:
    """One row of the table, known by its number."""
    status = "waiting" if done is None else done.fields["status"]
    name = escape(row.name)
    picture = "" if done is None or not done.thumbnail else (
        f'<img src="{done.thumbnail}" alt="{name}, {WORDS[status]}" loading="lazy">'
    )  # fmt: skip
    return f"""<tr data-baa-row="{number}" data-baa-status="{status}">
<td class="baa-batch-picture">{picture}</td><td class="baa-batch-file">{name}</td>
<td>{_sex(row, done)}</td><td>{_answer(row, done)}</td><td class="baa-batch-notes">{_notes(done)}</td></tr>"""


def figures(evaluation: Evaluation) -> str:
    """What `evaluate` measures, for the rows with a reference."""
    tables = "".join(
        f'<div class="baa-batch-scroll" tabindex="0" role="region" aria-label="{title}">'
        f'<table class="baa-table baa-batch-figures"><caption>{title}</caption><thead><tr>'
        + "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
        + "</tr></thead><tbody>"
        + "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in kept)
        + "</tbody></table></div>"
        for title, (header, rows) in zip(
            ("Errors", "Sex check and interval", "Interval by sex and age"), evaluation.tables(), strict=True
        )
        if (kept := [cells for cells in rows if set(cells[1:]) - {"0", DASH}])
    )
    everyone = evaluation.groups["all"]
    low, high = everyone["mae_interval_months"]
    mae = f"{everyone['mae_months']:.2f} [{low:.2f}, {high:.2f}] months" if everyone["n"] else DASH
    difference = f"{everyone['mean_difference_months']:+.2f}" if everyone["n"] else DASH
    return f"""
<section class="baa-card baa-result" aria-label="Comparison with references">
  <p class="baa-eyebrow">Comparison with the references of the table ({_radiographs(evaluation)})</p>
  <p>Mean absolute error <strong>{mae}</strong>, mean difference {difference} months.</p>
  <details><summary>All figures, as <code>evaluate</code> gives them</summary>{tables}</details>
  <p class="baa-fine">{FIGURES_NOTE} {escape(DISCLAIMER)}</p>
</section>
"""


def _radiographs(evaluation: Evaluation) -> str:
    count = evaluation.about["n"]
    return f"{count} radiograph{'s' * (count != 1)}"


def no_figures(sentence: str) -> str:
    """Why there is no comparison."""
    return (
        '<section class="baa-card baa-refusal" role="status"><p class="baa-eyebrow">Not compared with references</p>'
        f"<p>{escape(sentence)}</p></section>"
    )


def _sex(row: Row, done: Done | None) -> str:
    entered = escape(row.fields["sex"].strip() or "unknown")
    used = "" if done is None else done.fields["sex_used"]
    word = {"f": "female", "m": "male"}.get(entered.lower(), entered.lower())
    return entered if not used or word == used else f"{entered}<br><small>assessed as {used}</small>"


def _answer(row: Row, done: Done | None) -> str:
    if done is None:
        return '<span class="baa-batch-waiting">waiting</span>'
    fields = done.fields
    if fields["status"] == "refused":
        return '<strong class="baa-batch-refused">refused</strong>'
    months, low, high = (
        float(fields[name]) for name in ("bone_age_months", "interval_low_months", "interval_high_months")
    )
    lines = [
        f"<strong>{years_and_months(months)}</strong>",
        f"<small>{months:.1f} months, 90 % interval {low:.0f} to {high:.0f}</small>",
    ]
    if age := row.fields.get(AGE_COLUMN, "").strip():
        lines.append(f"<small>age {escape(age[:12])}</small>")
    if reference := reference_of(row):
        lines.append(f"<small>reference {escape(reference[:12])}</small>")
    return "<br>".join(lines)


def reference_of(row: Row) -> str:
    """The reference age as the table has it; "" without one."""
    for name in (REFERENCE_COLUMNS[0], "bone_age_months"):
        if text := row.fields.get(name, "").strip():
            return text
    return ""


def _notes(done: Done | None) -> str:
    if done is None or not done.notes:
        return ""
    if len(done.notes) == 1:
        return escape(done.notes[0])
    items = "".join(f"<li>{escape(note)}</li>" for note in done.notes)
    return f"<details><summary>{len(done.notes)} cautions</summary><ul>{items}</ul></details>"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{minutes} min"
