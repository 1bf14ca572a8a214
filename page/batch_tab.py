"""The Batch tab: many radiographs and a table, one radiograph a turn in the page's queue.

Each turn is an event of its own: it takes its place in the queue, assesses one radiograph, and its answer makes the
page's script (`batch.js`) ask for the next. So other visitors come between, and closing the page ends the batch.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import gradio as gr

from baa_core.errors import BoneAgeError, SeveralHands, WeightsCorrupt, WeightsMissing
from baa_core.evaluation.batch import flatten
from baa_core.evaluation.metrics import evaluate
from baa_core.evaluation.pairs import match_cases
from baa_core.evaluation.tables import Table
from baa_core.evaluation.worklist import Row, Worklist, run_row
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import HAND_CHOICES, HandChoice, HandMask, Patient, Report, parse_sex, refusal

from . import batch_text as words
from .batch_view import refused_thumbnail, thumbnail
from .batch_work import Done, Work, Works
from .cancellation import Runs, Stopped, session_of
from .entries import NETWORKS, SEXES, quietly, showing
from .service import CanAnswer, sentence_for
from .uploads import UploadFolder, take_uploads

LOG = logging.getLogger("bone_age.page")


class BatchTab(NamedTuple):
    """The components of the tab; `shown` are what every handler fills.

    `signal` tells the page's script whether and after which turn to go on; `turn` is pressed by that script alone.
    """

    files: gr.File
    table_file: gr.File
    sex_of_all: gr.Radio
    hand: gr.Radio
    go: gr.Button
    stop: gr.Button
    clear: gr.Button
    turn: gr.Button
    signal: gr.Textbox
    card: gr.HTML
    feed: gr.HTML
    table: gr.HTML
    figures: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What `BatchHandlers.show` fills, in its order."""
        return [self.card, self.table, self.feed, self.figures, self.go, self.signal]


class BatchHandlers:
    """What the tab does. A batch belongs to one session of the page."""

    def __init__(self, assessor: CanAnswer, uploads: UploadFolder) -> None:
        self.assessor = assessor
        self.uploads = uploads
        self.works = Works()
        self.runs = Runs()

    def show(self, work: Work, problem: str = "") -> tuple[Any, ...]:
        """The whole tab as the batch stands."""
        with work.lock:
            rows = work.worklist()
            done = [work.results[row.key] for row in rows.rows if row.key in work.results]
            csv = rows.to_csv(work.csv_rows()) if done and not work.running else ""
            card = words.card(rows, work.notes, done, work.running, _seconds_left(rows, done), csv, problem)
            figures = "" if work.running else self.compare(rows, work)
            return card, words.table(rows, dict(work.results)), "", figures, *self.controls(work, rows, len(done))

    def controls(self, work: Work, rows: Worklist, done: int) -> tuple[Any, str]:
        """The button and the signal to the page's script."""
        left = len(rows.rows) - done
        button = gr.update(
            value=words.go_label(done, len(rows.rows), work.running), interactive=left > 0 and not work.running
        )
        return button, f"{'on' if work.running else 'off'},{work.turn}"

    def take(self, paths: list[str] | str | None, request: gr.Request) -> tuple[Any, ...]:
        """Read uploads into memory; the upload boxes are emptied for more. What runs goes on."""
        work = self.works.of(session_of(request))
        named = [] if paths is None else [paths] if isinstance(paths, str) else paths
        try:
            work.take(take_uploads(named, self.uploads), self.works.room())
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            work.notes = [sentence_for(error)]
        return *self.show(work), None

    def take_table(self, path: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Read a table, whatever its name; the one before stays if it cannot be used."""
        work = self.works.of(session_of(request))
        work.notes = []
        for name, content in take_uploads([path] if path else [], self.uploads):
            try:
                work.take_table(name, content)
            except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
                work.notes = [sentence_for(error)]
        return *self.show(work), None

    def choose_sex(self, sex: str, request: gr.Request) -> tuple[Any, ...]:
        """One sex for all files; it counts where there is no table."""
        work = self.works.of(session_of(request))
        work.sex_of_all = str(parse_sex(sex) or "unknown")
        return self.show(work)

    def choose_hand(self, hand: str, request: gr.Request) -> tuple[Any, ...]:
        """Which of several hands of a picture is assessed; pictures with one hand are not assessed again."""
        work = self.works.of(session_of(request))
        work.choose_hand(next((choice for choice in HAND_CHOICES if choice == hand), None))
        return self.show(work)

    def begin(self, request: gr.Request) -> tuple[Any, ...]:
        """Start, or go on. Nothing that is done is done again."""
        work = self.works.of(session_of(request))
        with work.lock:
            work.running = bool(work.left(work.worklist().rows))
            work.turn += 1
        return self.show(work)

    def pause(self, request: gr.Request) -> tuple[Any, ...]:
        """Stop before the next stage; the radiograph under way waits again, everything done stays."""
        work = self.works.of(session_of(request))
        with work.lock:
            work.running = False
            work.turn += 1
        self.runs.stop(session_of(request))
        return self.show(work)

    def clear(self, request: gr.Request) -> tuple[Any, ...]:
        """Forget files, table and results."""
        session = session_of(request)
        self.runs.stop(session)
        self.works.forget(session)
        return self.show(self.works.of(session))

    def left(self, request: gr.Request) -> None:
        """The visitor closed the page."""
        session = session_of(request)
        self.runs.forget(session)
        self.works.forget(session)

    def one(self, request: gr.Request) -> tuple[Any, ...]:
        """Assess the next radiograph and show its row; at the end the whole tab."""
        session = session_of(request)
        work = self.works.of(session)
        rows = work.worklist()
        left = work.left(rows.rows)
        if not work.running or not left:
            return self.ended(work)
        run = self.runs.begin(session, 0.0)
        row, hand = left[0], work.hand
        try:
            result = self.assess(row, lambda stage: run.look(), hand)
            run.look()
        except Stopped:
            return self.ended(work) if not work.running else self.unchanged()
        except (WeightsMissing, WeightsCorrupt) as error:
            return self.ended(work, sentence_for(error))
        finally:
            self.runs.end(session, run)
        with work.lock:
            if hand == work.hand or not result.of_several_hands:  # else another was chosen meanwhile: it waits again
                work.results[row.key] = result
            work.turn += 1
            rows = work.worklist()
            if not work.running or not work.left(rows.rows):
                return self.ended(work)
            done = [work.results[known.key] for known in rows.rows if known.key in work.results]
            card = words.card(rows, work.notes, done, work.running, _seconds_left(rows, done), "")
            number = next((n for n, known in enumerate(rows.rows) if known.key == row.key), -1)
            feed = words.fed(number, row, work.results.get(row.key)) if number >= 0 else ""
            return card, gr.skip(), feed, gr.skip(), *self.controls(work, rows, len(done))

    def ended(self, work: Work, problem: str = "") -> tuple[Any, ...]:
        """The whole tab; nothing goes on by itself."""
        with work.lock:
            work.running = False
            work.turn += 1
        return self.show(work, problem)

    def unchanged(self) -> tuple[Any, ...]:
        """The tab as it is."""
        return tuple(gr.skip() for _ in range(6))

    def assess(self, row: Row, on_stage: Any, hand: HandChoice | None = None) -> Done:
        """One row's result with its thumbnail; `hand` is which of several.

        Raises:
            Stopped: the visitor asked to.
            WeightsMissing, WeightsCorrupt: about no row in particular.
        """
        seen: dict[str, Any] = {}

        def ask(content: bytes, patient: Patient, name: str) -> Report:
            seen["content"] = content
            try:
                chosen = {} if hand is None else {"hand": hand}
                seen["report"] = self.assessor.assess(content, patient, name=name, on_stage=on_stage, **chosen)
            except SeveralHands as error:
                seen["hands"] = error.hands
                raise
            report: Report = seen["report"]
            return report

        try:
            result = run_row(row, DEFAULT_RECIPE, ask)
        except (Stopped, WeightsMissing, WeightsCorrupt):
            raise
        except Exception as error:  # noqa: BLE001 one row must not end the others
            LOG.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            result = refusal(row.name, DEFAULT_RECIPE, error)
        fields = flatten(result)
        if "report" in seen:
            report: Report = seen["report"]
            notes = tuple(caution.message for caution in report.cautions)
            return Done(fields, thumbnail(report), notes, report.seconds)
        hands: tuple[HandMask, ...] = seen.get("hands", ())
        picture = ""
        if "content" in seen:
            picture = refused_thumbnail(seen["content"], PurePosixPath(row.name).name, hands)
        return Done(fields, picture, (fields["error_message"],), 0.0)

    def compare(self, rows: Worklist, work: Work) -> str:
        """The figures of `evaluate` for the rows with sex, reference and result; "" without references."""
        known = [row for row in rows.rows if words.reference_of(row) and row.key in work.results and _sex_known(row)]
        if not known:
            return ""
        chosen = Worklist(rows.columns, tuple(known), (), "").results(work.csv_rows())
        try:
            return words.figures(evaluate(match_cases(Table(tuple(chosen[0]), tuple(chosen)), None), {}))
        except BoneAgeError as error:
            return words.no_figures(sentence_for(error))


def _sex_known(row: Row) -> bool:
    try:
        return parse_sex(row.fields["sex"]) is not None
    except BoneAgeError:
        return False


def _seconds_left(rows: Worklist, done: list[Done]) -> float | None:
    timed = [one.seconds for one in done if one.seconds]
    return sum(timed) / len(timed) * (len(rows.rows) - len(done)) if timed else None


def lay_out_batch() -> BatchTab:
    """Upload boxes, buttons, the card, the rows, and the comparison with references."""
    gr.HTML(words.INTRO)
    with gr.Row(elem_classes="baa-batch-entries"):
        files = gr.File(
            label="Radiographs, or a zip of them", file_count="multiple", height=130, elem_id="baa-batch-files"
        )
        table_file = gr.File(label="Table (CSV): file, sex", height=130, elem_id="baa-batch-csv-file")
    with gr.Row(elem_classes="baa-batch-entries"):
        sex_of_all = gr.Radio(
            SEXES, value="unknown", label=words.SEX_OF_ALL, info=words.SEX_HELP, elem_id="baa-batch-sex"
        )
        hand = gr.Radio(
            words.HANDS, value=words.REFUSE, label=words.WHICH_HAND, info=words.HAND_HELP, elem_id="baa-batch-hand"
        )
    with gr.Row(elem_classes="baa-batch-buttons"):
        go = gr.Button("Assess all", variant="primary", min_width=150, interactive=False, elem_id="baa-batch-go")
        stop = gr.Button("Cancel", min_width=100, elem_id="baa-batch-cancel")
        clear = gr.Button("Clear", min_width=100, elem_id="baa-batch-clear")
    turn = gr.Button(visible="hidden", elem_id="baa-batch-turn")
    signal = gr.Textbox("", visible="hidden", elem_id="baa-batch-signal")
    card = gr.HTML(words.EMPTY, elem_id="baa-batch-card")
    feed = gr.HTML(elem_id="baa-batch-feed")
    table = gr.HTML(elem_id="baa-batch-table")
    figures = gr.HTML(elem_id="baa-batch-figures")
    return BatchTab(files, table_file, sex_of_all, hand, go, stop, clear, turn, signal, card, feed, table, figures)


NEXT = "(signal) => { globalThis.baaBatch?.next(signal); }"


def connect_batch(page: gr.Blocks, do: BatchHandlers, tab: BatchTab) -> None:
    """Which entry calls which handler; nothing here can be called from outside the page."""
    hidden = quietly(tab.signal)
    quick = hidden | {"queue": False}
    on_card = showing(tab.card)
    tab.files.upload(do.take, tab.files, [*tab.shown, tab.files], **on_card)
    tab.table_file.upload(do.take_table, tab.table_file, [*tab.shown, tab.table_file], **on_card)
    tab.sex_of_all.input(do.choose_sex, tab.sex_of_all, tab.shown, **quick)
    tab.hand.input(do.choose_hand, tab.hand, tab.shown, **quick)
    begun = tab.go.click(do.begin, None, tab.shown, **quick)
    begun.then(None, tab.signal, None, js=NEXT, **quick)
    turned = tab.turn.click(do.one, None, tab.shown, **hidden, **NETWORKS)
    turned.then(None, tab.signal, None, js=NEXT, **quick)
    tab.stop.click(do.pause, None, tab.shown, **quick)
    tab.clear.click(do.clear, None, tab.shown, **quick)
    page.unload(do.left)
