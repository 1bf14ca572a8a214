"""The page: layout and handlers. Every number it shows comes from one call of `assess`.

    python app.py [--host 127.0.0.1] [--port 7860] [--no-browser]

Pictures live in memory only: an upload is deleted from disk as soon as it is read, and what is
shown travels inside the page. The words stand in `page.text`, the guard at the door in `page.guard`.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

# Gradio reads these when it is imported: send nothing home, keep uploads in a folder of our own.
PRIVATE_FOLDER = Path(tempfile.mkdtemp(prefix="bone-age-"))
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(PRIVATE_FOLDER), HF_HUB_DISABLE_TELEMETRY="1")

import gradio as gr  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

import baa_core  # noqa: E402
from baa_core.errors import BoneAgeError, InvalidPatient  # noqa: E402
from baa_core.figures import interval_figure  # noqa: E402
from baa_core.types import Sex, parse_sex  # noqa: E402
from page import text  # noqa: E402
from page.examples import EXAMPLES, draw_example  # noqa: E402
from page.guard import Guard  # noqa: E402
from page.view import View, data_address, view_of  # noqa: E402

LARGEST_FILE = "100mb"  # 50 megapixels, the most that is read, at 16 bit
FORGET_AFTER_SECONDS = 3600
WAITING_ROOM = 16  # visitors in the queue before the page says that it is busy
SESSIONS = 32  # sessions whose pictures are kept in memory at once
LOG = logging.getLogger("bone_age.page")


class CanAssess(Protocol):
    """What the page needs: `baa_core.pipeline.Assessor`, or one still loading."""

    def assess(self, source: bytes, patient: baa_core.Patient, **options: Any) -> baa_core.Report:
        """See `baa_core.pipeline.Assessor.assess`."""


class Loading:
    """An assessor that loads while the page already answers; what went wrong is said at the first picture."""

    def __init__(self, recipe: str) -> None:
        self._ready: Future[baa_core.Assessor] = ThreadPoolExecutor(max_workers=1).submit(self._load, recipe)

    @staticmethod
    def _load(recipe: str) -> baa_core.Assessor:
        assessor = baa_core.load_assessor(recipe)
        assessor.warm_up()
        return assessor

    def assess(self, source: bytes, patient: baa_core.Patient, **options: Any) -> baa_core.Report:
        """Wait until loaded, then assess."""
        return self._ready.result().assess(source, patient, **options)


class Chosen(NamedTuple):
    """The picture about to be assessed, and what its file says about the child."""

    name: str
    content: bytes
    drawn: bool = False
    sex_in_file: Sex | None = None
    age_in_file_months: float | None = None


def take_upload(path: str) -> tuple[str, bytes]:
    """The name and bytes of an uploaded file, which is deleted from disk."""
    file = Path(path)
    content = file.read_bytes()
    if PRIVATE_FOLDER in file.parents and file.parent != PRIVATE_FOLDER:
        shutil.rmtree(file.parent, ignore_errors=True)
    for empty in PRIVATE_FOLDER.glob("tmp*"):  # gr.File leaves an empty file for every upload it hands over
        if empty.is_file() and empty.stat().st_size == 0:
            empty.unlink(missing_ok=True)
    return file.name, content


def explain_failure(error: Exception) -> str:
    """The sentence a visitor sees. An unforeseen error is logged by its kind and place, without any value."""
    if isinstance(error, BoneAgeError):
        return str(error)
    LOG.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return text.NEUTRAL


class Handlers:
    """What the page does. Each method turns what a visitor entered into values for components."""

    def __init__(self, assessor: CanAssess) -> None:
        self.assessor = assessor

    def cleared(self, card: str = text.EMPTY) -> tuple[Any, ...]:
        """The result area without a result: the outputs of `assess`."""
        return card, gr.update(visible=False), "", None, "", "", None

    def take(self, path: str | None) -> tuple[Any, ...]:
        """Read an upload, delete it, say what it offers, and clear what an earlier one showed."""
        if path is None:
            return None, "", "", gr.update(visible=False), *self.cleared()
        try:
            name, content = take_upload(path)
            radiograph = baa_core.read_radiograph(content, name)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return None, "", "", gr.update(visible=False), *self.cleared(text.refusal(explain_failure(error)))
        chosen = Chosen(name, content, False, radiograph.sex_in_file, radiograph.age_in_file_months)
        offer = text.offer(radiograph)
        return chosen, text.chosen(name), offer, gr.update(visible=bool(offer)), *self.cleared()

    def fill_in(self, chosen: Chosen) -> tuple[Any, Any, Any]:
        """Sex, years and months from the file, when the visitor asks for them."""
        age = chosen.age_in_file_months
        years, months = (gr.skip(), gr.skip()) if age is None else divmod(round(age, 1), 12)
        return chosen.sex_in_file or gr.skip(), years, months

    def draw(self, label: str) -> tuple[Any, ...]:
        """A drawn example in place of an upload, with its true sex and age."""
        example, content = draw_example(label)
        years, months = divmod(example.age_months, 12)
        chosen = Chosen(label, content, drawn=True)
        filled = (None, example.sex, years, months)
        return chosen, text.chosen(label, drawn=True), "", gr.update(visible=False), *self.cleared(), *filled

    def assess(
        self,
        chosen: Chosen | None,
        sex: str | None,
        years: float | None,
        months: float | None,
        with_mask: bool,
        with_heat: bool,
        opacity: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 Gradio finds it by its default
    ) -> tuple[Any, ...]:
        """The whole result area for the chosen picture, or a card that says why there is none."""
        if chosen is None:
            return self.cleared(text.refusal(text.NO_PICTURE))
        stages = list(text.STAGES)
        try:
            report = self.assessor.assess(
                chosen.content,
                entered_patient(sex, years, months),
                name=chosen.name,
                explain=True,
                on_stage=lambda stage: progress((stages.index(stage), len(stages)), desc=stage.capitalize()),
            )
            view = view_of(report)
            picture = self.redraw(view, with_mask, with_heat, opacity)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.cleared(text.refusal(explain_failure(error)))
        card, how = text.result(report, chosen.drawn), text.how_made(report, baa_core.RECIPES[report.recipe])
        return card, gr.update(visible=True), picture, interval_figure(report), text.members(report), how, view

    def redraw(self, view: View | None, with_mask: bool, with_heat: bool, opacity: float) -> str:
        """The picture again with other layers; no network runs."""
        if view is None:
            return ""
        return text.picture(data_address(view.png(with_mask, with_heat, opacity / 100)), with_mask, with_heat)

    def answer(
        self, path: str | None, sex: str | None, years: float | None, months: float | None
    ) -> dict[str, Any]:
        """Assess one hand radiograph and return the report as JSON (the only public endpoint)."""
        try:
            if path is None:
                raise InvalidPatient(text.NO_PICTURE)
            name, content = take_upload(path)
            return self.assessor.assess(content, entered_patient(sex, years, months), name=name).to_dict()
        except Exception as error:  # noqa: BLE001 the caller gets one sentence whatever happened
            raise gr.Error(explain_failure(error), print_exception=False) from None


def entered_patient(sex: str | None, years: float | None, months: float | None) -> baa_core.Patient:
    """What was entered about the child.

    Raises:
        InvalidPatient: no sex was chosen, or the age makes no sense.
    """
    if sex is None:
        raise InvalidPatient("No sex has been chosen. Choose Female, Male or Unknown, and press Assess again.")
    return baa_core.Patient(parse_sex(sex), text.entered_age_months(years, months))


def build_app(assessor: CanAssess) -> gr.Blocks:
    """The page around an assessor."""
    do = Handlers(assessor)
    with gr.Blocks(title=text.TITLE, delete_cache=(600, 600), analytics_enabled=False) as page:
        gr.HTML(text.HEADER)
        with gr.Tabs(), gr.Tab("Assess"), gr.Row(elem_classes="baa-columns"):
            with gr.Column(scale=4, min_width=300):
                chosen = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
                file = gr.File(label="Radiograph of one hand: PNG, JPEG, TIFF, BMP, WebP or DICOM", height=150)
                ready = gr.HTML()
                offer = gr.HTML()
                use_offer = gr.Button("Use sex and age from the file", visible=False, size="sm")
                sexes = [("Female", "female"), ("Male", "male"), ("Unknown", "unknown")]
                sex = gr.Radio(sexes, label="Sex", elem_id="baa-sex")
                with gr.Row(elem_classes="baa-age-row"):
                    years = gr.Number(None, label="Age, years (optional)", min_width=110)
                    months = gr.Number(None, label="and months", min_width=110)
                go = gr.Button("Assess", variant="primary", size="lg", elem_id="baa-assess")
                gr.HTML('<p class="baa-fine baa-examples">Or try a <strong>drawn</strong> hand, not a patient:</p>')
                with gr.Row(elem_classes="baa-example-row"):
                    examples = [gr.Button(label, size="sm", min_width=120) for label in EXAMPLES]
                gr.HTML(text.PRIVACY)
            with gr.Column(scale=7, min_width=300):
                card = gr.HTML(text.EMPTY, elem_id="baa-card")
                with gr.Column(visible=False, elem_id="baa-details") as details:
                    picture = gr.HTML(elem_id="baa-picture")
                    with gr.Row(elem_classes="baa-layers"):
                        with_mask = gr.Checkbox(True, label="Mask", min_width=90)
                        with_heat = gr.Checkbox(True, label="Heatmap", min_width=90)
                        opacity = gr.Slider(0, 100, 50, step=5, label="Heatmap opacity, %", min_width=200)
                    interval = gr.Plot(label="Estimate and 90 % interval")
                    members = gr.HTML()
                    with gr.Accordion("How was this made?", open=False):
                        how = gr.HTML()
                view = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
        hidden, answer = gr.Button(visible=False), gr.JSON(visible=False)

        results = [card, details, picture, interval, members, how, view]
        taken = [chosen, ready, offer, use_offer, *results]
        entries, layers = [sex, years, months], [with_mask, with_heat, opacity]
        private: dict[str, Any] = {"api_visibility": "private"}
        working = private | {"concurrency_id": "networks", "concurrency_limit": 1, "show_progress_on": card}
        file.upload(do.take, file, taken, show_progress_on=card, **private)
        file.clear(lambda: do.take(None), None, taken, show_progress="hidden", **private)
        use_offer.click(do.fill_in, chosen, entries, show_progress="hidden", **private)
        go.click(do.assess, [chosen, *entries, *layers], results, scroll_to_output=True, **working)
        for button in examples:
            drawn = button.click(do.draw, button, [*taken, file, *entries], show_progress_on=card, **private)
            drawn.then(do.assess, [chosen, *entries, *layers], results, **working)
        for listen in (with_mask.change, with_heat.change, opacity.input):
            listen(
                do.redraw, [view, *layers], picture, show_progress="hidden", trigger_mode="always_last", **private
            )
        hidden.click(do.answer, [file, *entries], answer, api_name="assess", concurrency_id="networks")
    return page.queue(max_size=WAITING_ROOM)


def serve(page: gr.Blocks, host: str, port: int | None, open_browser: bool) -> None:
    """Answer on host and port until stopped."""
    in_space = "SPACE_ID" in os.environ
    os.chdir(PRIVATE_FOLDER)  # Gradio may hand out files of the folder it runs in: let that be an empty one
    page.launch(
        server_name="0.0.0.0" if in_space else host,
        server_port=7860 if in_space else port,
        inbrowser=open_browser and not in_space,
        share=False,
        show_error=False,
        max_file_size=LARGEST_FILE,
        state_session_capacity=SESSIONS,
        allowed_paths=[],
        blocked_paths=[str(Path(__file__).resolve().parent)],
        app_kwargs={"middleware": [Middleware(Guard, framed=in_space)], "docs_url": None, "redoc_url": None},
        enable_monitoring=False,
        strict_cors=True,
        ssr_mode=False,
        footer_links=["api"],
        theme=gr.themes.Base(
            primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css_paths=[Path(__file__).resolve().parent / "page" / "style.css"],
    )


def main() -> None:
    """Read the command line and serve the page."""
    parser = argparse.ArgumentParser(description="Serve the bone age page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to answer on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port to answer on (default: the first free one from 7860)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    options = parser.parse_args()
    atexit.register(shutil.rmtree, PRIVATE_FOLDER, ignore_errors=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    has_screen = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    page = build_app(Loading("deeplasia"))
    serve(page, options.host, options.port, has_screen and not options.no_browser)


if __name__ == "__main__":
    main()
