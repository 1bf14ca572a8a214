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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Gradio reads these when it is imported: send nothing home, keep uploads in a folder of our own.
PRIVATE_FOLDER = Path(tempfile.mkdtemp(prefix="bone-age-")).resolve()
atexit.register(shutil.rmtree, PRIVATE_FOLDER, ignore_errors=True)
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(PRIVATE_FOLDER), HF_HUB_DISABLE_TELEMETRY="1")

import gradio as gr  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from baa_core.errors import SeveralHands, UnreadableImage  # noqa: E402
from baa_core.explain import captum_attr  # noqa: E402
from baa_core.figures import interval_figure  # noqa: E402
from baa_core.io import read_radiograph  # noqa: E402
from baa_core.recipes import DEFAULT_RECIPE, RECIPES  # noqa: E402
from baa_core.types import DISCLAIMER, HandChoice, HandMask  # noqa: E402
from page import text  # noqa: E402
from page.compare_tab import CompareHandlers, connect_compare, lay_out_compare  # noqa: E402
from page.examples import draw_example  # noqa: E402
from page.explain_tab import ExplainHandlers, connect_explain, lay_out_explain  # noqa: E402
from page.guard import Guard  # noqa: E402
from page.intake import Chosen, Entered, asked, entered, entered_patient, new_file  # noqa: E402
from page.keeping import lay_out_keeping  # noqa: E402
from page.layout import NETWORKS, SAY, SAY_CHOSEN, Entries, Results, lay_out_entries, lay_out_results, look  # noqa: E402
from page.loading import CanAnswer, Loading, sentence_for  # noqa: E402
from page.running import Runs, Stopped, session_of  # noqa: E402
from page.uploads import UploadFolder, take_upload  # noqa: E402
from page.view import View, hands_address, view_of  # noqa: E402

LARGEST_FILE = "100mb"  # 50 megapixels, the most that is read, at 16 bit
WAITING_ROOM = 16  # visitors in the queue before the page says that it is full
SESSIONS = 32  # sessions whose pictures are kept in memory at once
UPLOADS = UploadFolder(PRIVATE_FOLDER)
STYLE, *SCRIPTS = (Path(__file__).resolve().parent / "page" / name for name in ("style.css", "stream.js", "entries.js"))


class Shown(NamedTuple):
    """The picture of a result, and what the result belongs to."""

    belongs: Entered
    view: View


class Handlers:
    """What the page does. Each method turns what a visitor entered into values for components.

    A result belongs to the picture, sex and age it was made for, and carries them. A change of one of them stops what
    is under way.
    """

    def __init__(self, assessor: CanAnswer) -> None:
        self.assessor = assessor
        self.runs = Runs()

    def cleared(self, card: str = text.EMPTY) -> tuple[Any, ...]:
        """The result area without a result."""
        hidden = gr.update(visible=False)
        return card, hidden, hidden, "", None, "", "", None

    def unchanged(self) -> tuple[Any, ...]:
        """The result area as it is."""
        return tuple(gr.skip() for _ in self.cleared())

    def taken(
        self,
        chosen: Chosen | None,
        patient: tuple[Any, Any, Any],
        ready: str = "",
        offer: str = "",
        card: str = text.EMPTY,
    ) -> tuple[Any, ...]:
        """The picture chosen, what is said about it, whether Assess can be pressed, sex and age, and no result yet."""
        buttons = gr.update(visible=bool(offer)), gr.update(interactive=chosen is not None)
        file = "" if chosen is None else chosen.file
        return chosen, file, ready + offer, *buttons, *patient, *self.cleared(card)

    def take(self, path: str | None, token: str, request: gr.Request) -> tuple[Any, ...]:
        """Read an upload, delete it, and say what its header offers. Sex and age of the one before are emptied.

        Where the page's script has emptied them already, when the file was chosen, they stay as they are now: they
        were entered for this file while it was on its way.
        """
        said = asked(token)
        self.runs.stop(session_of(request), said.at)
        patient = (gr.skip(), gr.skip(), gr.skip()) if said.emptied else (None, "", "")
        if path is None:
            return self.taken(None, patient)
        try:
            name, content = take_upload(path, UPLOADS)
            radiograph = read_radiograph(content, name)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.taken(None, patient, card=text.refusal(sentence_for(error)))
        chosen = Chosen(name, content, False, radiograph.sex_in_file, radiograph.age_in_file_months, new_file())
        return self.taken(chosen, patient, text.chosen(name, chosen.file), text.offer(radiograph))

    def clear(self, token: str, request: gr.Request) -> tuple[Any, ...]:
        """No picture any more."""
        return self.take(None, token, request)

    def fill_in(self, chosen: Chosen, token: str, request: gr.Request) -> tuple[Any, Any, Any]:
        """Sex, years and months from the file, when the visitor asks for them."""
        self.change(token, request)
        age = chosen.age_in_file_months
        return chosen.sex_in_file or gr.skip(), *((gr.skip(), gr.skip()) if age is None else text.age_boxes(age))

    def draw(self, label: str, token: str, request: gr.Request) -> tuple[Any, ...]:
        """A drawn example in place of an upload, with its true sex and age."""
        self.change(token, request)
        example, content = draw_example(label)
        chosen = Chosen(label, content, drawn=True, file=new_file())
        patient = (example.sex, *text.age_boxes(example.age_months))
        return *self.taken(chosen, patient, text.chosen(label, chosen.file, drawn=True)), None

    def choose_hand(self, hand: HandChoice, chosen: Chosen, token: str, request: gr.Request) -> tuple[Any, ...]:
        """One hand of the same picture, which is like another picture: results of the other hand belong to that."""
        self.change(token, request)
        chosen = chosen._replace(hand=hand, file=new_file())
        return chosen, chosen.file, text.chosen(chosen.name, chosen.file, chosen.drawn, hand), *self.cleared()

    def which_hand(self, chosen: Chosen, hands: Sequence[HandMask], belongs: Entered) -> tuple[Any, ...]:
        """The result area that asks which of several hands is meant."""
        address = hands_address(read_radiograph(chosen.content, chosen.name), hands)
        card, _, *rest = self.cleared(belongs.mark(text.several_hands(address)))
        return card, gr.update(visible=True), *rest

    def change(self, token: str, request: gr.Request) -> None:
        """The entries changed: stop what was asked for before."""
        self.runs.stop(session_of(request), asked(token).at)

    def left(self, request: gr.Request) -> None:
        """The visitor closed the page."""
        self.runs.forget(session_of(request))

    def assess(
        self,
        chosen: Chosen | None,
        sex: str | None,
        years: str | None,
        months: str | None,
        with_mask: bool,
        with_heat: bool,
        opacity: float,
        token: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 Gradio finds it by its default
    ) -> tuple[Any, ...]:
        """The whole result area for the chosen picture, or a card that says why there is none.

        Nothing changes if the entries changed meanwhile.
        """
        if chosen is None:
            return self.cleared(text.refusal(text.NO_PICTURE))
        said, belongs = asked(token), entered(chosen, sex, years, months)
        if not said.is_of(chosen):
            return self.unchanged()
        session, stages = session_of(request), list(text.STAGES)
        run = self.runs.begin(session, said.at)

        def step(stage: str) -> None:
            run.look()
            progress((stages.index(stage), len(stages)), desc=stage.capitalize())

        try:
            run.look()
            patient = entered_patient(sex, years, months)
            report = self.assessor.assess(chosen.content, patient, explain=True, on_stage=step, **chosen.options)
            shown = Shown(belongs, view_of(report))
            picture = self.redraw(shown, chosen, with_mask, with_heat, opacity)
            run.look()
        except Stopped:
            return self.unchanged()
        except SeveralHands as error:
            if not error.hands:
                return self.cleared(belongs.mark(text.refusal(sentence_for(error))))
            return self.which_hand(chosen, error.hands, belongs)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.cleared(belongs.mark(text.refusal(sentence_for(error))))
        finally:
            self.runs.end(session, run)
        card = belongs.mark(text.result(report, chosen.drawn, belongs.words))
        how = text.how_made(report, RECIPES[report.recipe])
        hands, details = gr.update(visible=chosen.hand is not None), gr.update(visible=True)
        return card, hands, details, picture, interval_figure(report), text.members(report), how, shown

    def redraw(
        self, shown: Shown | None, chosen: Chosen | None, with_mask: bool, with_heat: bool, opacity: float
    ) -> str:
        """The picture again with other layers, opacity in percent; no network runs. "" if another one was chosen."""
        if shown is None or chosen is None or shown.belongs.file != chosen.file:
            return ""
        words = shown.belongs.words
        address = shown.view.address(with_mask, with_heat, opacity / 100, words)
        return text.picture(address, with_mask, with_heat, shown.belongs.download("bone-age"), words)

    def answer(self, file: str | None, sex: str | None, years: str | None, months: str | None) -> dict[str, Any]:
        """Assess one hand radiograph and return the report as JSON."""
        try:
            if file is None:
                raise UnreadableImage(text.NO_PICTURE)
            name, content = take_upload(file, UPLOADS)
            return self.assessor.assess(content, entered_patient(sex, years, months), name=name).to_dict()
        except Exception as error:  # noqa: BLE001 the caller gets one sentence whatever happened
            raise gr.Error(sentence_for(error), print_exception=False) from None


def picking(do: Handlers, side: HandChoice) -> Callable[[Chosen, str, gr.Request], tuple[Any, ...]]:
    """What the button for the hand on one side does; Gradio does not count the arguments of a `partial` right."""

    def picked(chosen: Chosen, token: str, request: gr.Request) -> tuple[Any, ...]:
        return do.choose_hand(side, chosen, token, request)

    return picked


def connect(page: gr.Blocks, do: Handlers, left: Entries, right: Results) -> None:
    """Which entry calls which handler. Only `answer` can be called from outside the page."""
    patient, results, layers = [left.sex, left.years, left.months], list(right[:8]), list(right[8:11])
    hidden, answer = gr.Button(visible=False), gr.JSON(visible=False)
    hidden.click(do.answer, [left.file, *patient], answer, api_name="assess", **NETWORKS)

    private: dict[str, Any] = {"api_visibility": "private"}
    quiet = private | {"show_progress": "hidden"}
    says = quiet | {"js": SAY}
    working = private | NETWORKS | {"js": SAY, "show_progress_on": right.card, "trigger_mode": "always_last"}
    taken = [left.chosen, left.token, left.ready, left.use_offer, left.go, *patient, *results]
    left.file.upload(
        do.take, [left.file, left.token], taken, js=SAY_CHOSEN, show_progress_on=right.card, **private
    )  # fmt: skip
    left.file.clear(do.clear, left.token, taken, js=SAY_CHOSEN, **quiet)
    left.use_offer.click(do.fill_in, [left.chosen, left.token], patient, **says)
    assessed = [left.chosen, *patient, *layers, left.token]
    left.go.click(do.assess, assessed, results, scroll_to_output=True, **working)
    for button in left.examples:
        drawn = button.click(
            do.draw, [button, left.token], [*taken, left.file], js=SAY, show_progress_on=right.card, **private
        )  # fmt: skip
        drawn.then(do.assess, assessed, results, **working)
    for side, button in right.hand_buttons.items():
        one = [left.chosen, left.token, left.ready, *results]
        picked = button.click(picking(do, side), [left.chosen, left.token], one, **says)
        picked.then(do.assess, assessed, results, **working)
    gr.on([left.sex.input, left.years.input, left.months.input], do.change, left.token, None, queue=False, **says)
    # In the browser alone: empty sex and age when a file is chosen, look again when they change.
    left.empty.click(None, None, patient, js="() => [null, '', '']", **quiet)
    gr.on([entry.change for entry in patient], None, None, None, js="() => globalThis.baa?.check()", **quiet)
    page.unload(do.left)
    quick = quiet | {"trigger_mode": "always_last"}
    for listen in (right.with_mask.change, right.with_heat.change, right.opacity.change):
        listen(do.redraw, [right.view, left.chosen, *layers], right.picture, **quick)


def build_app(assessor: CanAnswer, save_cases: Path | None = None) -> gr.Blocks:
    """The page around an assessor; with a folder for confirmed cases if whoever serves it named one."""
    with gr.Blocks(title=text.TITLE, delete_cache=(600, 600), analytics_enabled=False) as page:
        gr.HTML(text.HEADER)
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                left = lay_out_entries()
            with gr.Column(scale=7, min_width=300), gr.Tabs(selected="assess") as tabs:
                with gr.Tab("Assess", id="assess", elem_classes="baa-area"):
                    right = lay_out_results()
                    if save_cases is not None:
                        lay_out_keeping(left, save_cases)
                with gr.Tab("Explain", id="explain", elem_classes="baa-area"):
                    explained = lay_out_explain()
                with gr.Tab("Compare", id="compare", elem_classes="baa-area"):
                    compared = lay_out_compare()
        left.go.click(lambda: gr.Tabs(selected="assess"), None, tabs, api_visibility="private", queue=False)
        connect(page, Handlers(assessor), left, right)
        connect_explain(page, ExplainHandlers(assessor), left, explained)
        connect_compare(page, CompareHandlers(assessor), left, compared)
    return page.queue(max_size=WAITING_ROOM, api_open=False)  # closed: nothing passes the queue


def serve(page: gr.Blocks, host: str, port: int | None, open_browser: bool) -> None:
    """Answer on host and port until stopped; a Hugging Face Space prescribes both."""
    in_space = "SPACE_ID" in os.environ
    guard = Middleware(Guard, uploads=UPLOADS, framed=in_space)
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
        app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None},
        enable_monitoring=False,
        strict_cors=True,
        ssr_mode=False,
        footer_links=[],
        theme=look(),
        css_paths=[STYLE],
        head="".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in SCRIPTS),
    )
    page.app.uploaded_file_dir = UPLOADS  # type: ignore[assignment]  # Gradio makes a path of it
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
    captum_attr()  # before there are threads: see there
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl+C does, sessions and files closed
    has_screen = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    cases = options.save_cases.resolve() if options.save_cases else None
    serve(build_app(Loading(DEFAULT_RECIPE), cases), options.host, options.port, has_screen and not options.no_browser)


if __name__ == "__main__":
    main()
