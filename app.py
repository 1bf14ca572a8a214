"""The page: handlers and what serves it. Every number it shows comes from one call of `assess`, `examine` or `compare`.

    python app.py [--host 127.0.0.1] [--port 7860] [--no-browser]

Pictures live in memory only: an upload is deleted from disk as soon as it is read, and what is
shown travels inside the page. Words, pictures and the guard at the door stand in `page`.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

# Gradio reads these when it is imported: send nothing home, keep uploads in a folder of our own.
PRIVATE_FOLDER = Path(tempfile.mkdtemp(prefix="bone-age-")).resolve()
atexit.register(shutil.rmtree, PRIVATE_FOLDER, ignore_errors=True)
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(PRIVATE_FOLDER), HF_HUB_DISABLE_TELEMETRY="1")

import gradio as gr  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from baa_core.errors import UnreadableImage  # noqa: E402
from baa_core.figures import interval_figure  # noqa: E402
from baa_core.io import read_radiograph  # noqa: E402
from baa_core.recipes import DEFAULT_RECIPE, RECIPES  # noqa: E402
from baa_core.types import DISCLAIMER  # noqa: E402
from page import text  # noqa: E402
from page.compare_tab import CompareHandlers, connect_compare, lay_out_compare  # noqa: E402
from page.examples import draw_example  # noqa: E402
from page.explain_tab import ExplainHandlers, connect_explain, lay_out_explain  # noqa: E402
from page.guard import Guard  # noqa: E402
from page.intake import Chosen, entered_patient, take_upload  # noqa: E402
from page.keeping import lay_out_keeping  # noqa: E402
from page.layout import Entries, Results, lay_out_entries, lay_out_results, look  # noqa: E402
from page.loading import CanAnswer, Loading, sentence_for  # noqa: E402
from page.view import View, view_of  # noqa: E402

LARGEST_FILE = "100mb"  # 50 megapixels, the most that is read, at 16 bit
WAITING_ROOM = 16  # visitors in the queue before the page says that it is full
SESSIONS = 32  # sessions whose pictures are kept in memory at once
STYLE = Path(__file__).resolve().parent / "page" / "style.css"


class Handlers:
    """What the page does. Each method turns what a visitor entered into values for components."""

    def __init__(self, assessor: CanAnswer) -> None:
        self.assessor = assessor

    def cleared(self, card: str = text.EMPTY) -> tuple[Any, ...]:
        """The result area without a result."""
        return card, gr.update(visible=False), "", None, "", "", None

    def taken(self, chosen: Chosen | None, ready: str = "", offer: str = "", card: str = text.EMPTY) -> tuple[Any, ...]:
        """The picture chosen, what is said about it, whether Assess can be pressed, and no result yet."""
        buttons = gr.update(visible=bool(offer)), gr.update(interactive=chosen is not None)
        return chosen, ready + offer, *buttons, *self.cleared(card)

    def take(self, path: str | None) -> tuple[Any, ...]:
        """Read an upload, delete it, and say what its header offers."""
        if path is None:
            return self.taken(None)
        try:
            name, content = take_upload(path, PRIVATE_FOLDER)
            radiograph = read_radiograph(content, name)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.taken(None, card=text.refusal(sentence_for(error)))
        chosen = Chosen(name, content, False, radiograph.sex_in_file, radiograph.age_in_file_months)
        return self.taken(chosen, text.chosen(name), text.offer(radiograph))

    def fill_in(self, chosen: Chosen) -> tuple[Any, Any, Any]:
        """Sex, years and months from the file, when the visitor asks for them."""
        age = chosen.age_in_file_months
        return chosen.sex_in_file or gr.skip(), *((gr.skip(), gr.skip()) if age is None else text.age_boxes(age))

    def draw(self, label: str) -> tuple[Any, ...]:
        """A drawn example in place of an upload, with its true sex and age."""
        example, content = draw_example(label)
        filled = (None, example.sex, *text.age_boxes(example.age_months))
        return *self.taken(Chosen(label, content, drawn=True), text.chosen(label, drawn=True)), *filled

    def assess(
        self,
        chosen: Chosen | None,
        sex: str | None,
        years: str | None,
        months: str | None,
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
            return self.cleared(text.refusal(sentence_for(error)))
        card, how = text.result(report, chosen.drawn), text.how_made(report, RECIPES[report.recipe])
        return card, gr.update(visible=True), picture, interval_figure(report), text.members(report), how, view

    def redraw(self, view: View | None, with_mask: bool, with_heat: bool, opacity: float) -> str:
        """The picture again with other layers, opacity in percent; no network runs."""
        if view is None:
            return ""
        return text.picture(view.address(with_mask, with_heat, opacity / 100), with_mask, with_heat)

    def answer(self, file: str | None, sex: str | None, years: str | None, months: str | None) -> dict[str, Any]:
        """Assess one hand radiograph and return the report as JSON."""
        try:
            if file is None:
                raise UnreadableImage(text.NO_PICTURE)
            name, content = take_upload(file, PRIVATE_FOLDER)
            return self.assessor.assess(content, entered_patient(sex, years, months), name=name).to_dict()
        except Exception as error:  # noqa: BLE001 the caller gets one sentence whatever happened
            raise gr.Error(sentence_for(error), print_exception=False) from None


def connect(do: Handlers, left: Entries, right: Results) -> None:
    """Which entry calls which handler. Only `answer` can be called from outside the page."""
    patient, results, layers = [left.sex, left.years, left.months], list(right[:7]), list(right[7:])
    hidden, answer = gr.Button(visible=False), gr.JSON(visible=False)
    networks: dict[str, Any] = {"concurrency_id": "networks", "concurrency_limit": 1}
    hidden.click(do.answer, [left.file, *patient], answer, api_name="assess", **networks)

    private: dict[str, Any] = {"api_visibility": "private"}
    working = private | networks | {"show_progress_on": right.card}
    taken = [left.chosen, left.ready, left.use_offer, left.go, *results]
    left.file.upload(do.take, left.file, taken, show_progress_on=right.card, **private)
    left.file.clear(lambda: do.take(None), None, taken, show_progress="hidden", **private)
    left.use_offer.click(do.fill_in, left.chosen, patient, show_progress="hidden", **private)
    left.go.click(do.assess, [left.chosen, *patient, *layers], results, scroll_to_output=True, **working)
    for button in left.examples:
        drawn = button.click(do.draw, button, [*taken, left.file, *patient], show_progress_on=right.card, **private)
        drawn.then(do.assess, [left.chosen, *patient, *layers], results, **working)
    quick = private | {"show_progress": "hidden", "trigger_mode": "always_last"}
    for listen in (right.with_mask.change, right.with_heat.change, right.opacity.change):
        listen(do.redraw, [right.view, *layers], right.picture, **quick)


def build_app(assessor: CanAnswer, save_cases: Path | None = None) -> gr.Blocks:
    """The page around an assessor; with a folder for confirmed cases if whoever serves it named one."""
    with gr.Blocks(title=text.TITLE, delete_cache=(600, 600), analytics_enabled=False) as page:
        gr.HTML(text.HEADER)
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                left = lay_out_entries()
            with gr.Column(scale=7, min_width=300), gr.Tabs(selected="assess") as tabs:
                with gr.Tab("Assess", id="assess"):
                    right = lay_out_results()
                    if save_cases is not None:
                        lay_out_keeping(left, save_cases)
                with gr.Tab("Explain", id="explain"):
                    explained = lay_out_explain()
                with gr.Tab("Compare", id="compare"):
                    compared = lay_out_compare()
        left.go.click(lambda: gr.Tabs(selected="assess"), None, tabs, api_visibility="private", queue=False)
        connect(Handlers(assessor), left, right)
        connect_explain(page, ExplainHandlers(assessor), left, explained)
        connect_compare(page, CompareHandlers(assessor), left, compared)
    return page.queue(max_size=WAITING_ROOM)


def serve(page: gr.Blocks, host: str, port: int | None, open_browser: bool) -> None:
    """Answer on host and port until stopped; a Hugging Face Space prescribes both."""
    in_space = "SPACE_ID" in os.environ
    os.chdir(PRIVATE_FOLDER)  # Gradio may hand out files of the folder it runs in: let that be an empty one
    page.launch(
        server_name="0.0.0.0" if in_space else host,
        server_port=7860 if in_space else port,
        inbrowser=open_browser and not in_space,
        share=False,
        show_error=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=LARGEST_FILE,
        state_session_capacity=SESSIONS,
        allowed_paths=[],
        blocked_paths=[str(STYLE.parents[1])],
        app_kwargs={"middleware": [Middleware(Guard, framed=in_space)], "docs_url": None, "redoc_url": None},
        enable_monitoring=False,
        strict_cors=True,
        ssr_mode=False,
        footer_links=[],
        theme=look(),
        css_paths=[STYLE],
    )
    print(f"The page answers at {page.local_url} (stop with Ctrl+C). {DISCLAIMER}", flush=True)
    page.block_thread()


def main() -> None:
    """Read the command line and serve the page."""
    parser = argparse.ArgumentParser(description="Serve the bone age page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to answer on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port to answer on (default: the first free one from 7860)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--save-cases", type=Path, metavar="DIR", help="offer to keep confirmed cases there")
    options = parser.parse_args()
    if "BAA_WEIGHTS" in os.environ:  # may be relative, and `serve` leaves this folder
        os.environ["BAA_WEIGHTS"] = os.path.abspath(os.environ["BAA_WEIGHTS"])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl+C does, sessions and files closed
    has_screen = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    cases = options.save_cases.resolve() if options.save_cases else None
    serve(build_app(Loading(DEFAULT_RECIPE), cases), options.host, options.port, has_screen and not options.no_browser)


if __name__ == "__main__":
    main()
