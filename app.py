"""The page: handlers and what serves it. Every number on it comes from `assess`, `explain_estimate` or `compare`.

    python app.py [--host 127.0.0.1] [--port 7860] [--no-browser] [--calibration F]
                  [--allow-host NAME] [--login F]

Pictures live in memory only: an upload is deleted from disk as soon as it is read, and what is
shown travels inside the page. Words, pictures and the guard at the door stand in `page`.
"""

from __future__ import annotations

import os
import signal


def leave(*_: object) -> None:
    """End at once and in silence: what Ctrl+C does as long as modules load."""
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, leave)

import argparse
import atexit
import shutil
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from page.uploads import UploadFolder, make_private_folder

# Gradio reads these when it is imported: send nothing home, keep uploads in a folder of our own. It asks this page
# once whether it answers, which must not go through a proxy.
PRIVATE_FOLDER = make_private_folder()
atexit.register(shutil.rmtree, PRIVATE_FOLDER, ignore_errors=True)
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(PRIVATE_FOLDER), HF_HUB_DISABLE_TELEMETRY="1")

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from baa_core.errors import BoneAgeError
from baa_core.explanation.lazy_captum import captum_attr
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import DISCLAIMER
from page import assess_text as text
from page.assess_tab import Handlers, connect, lay_out_results
from page.batch_tab import BatchHandlers, connect_batch, lay_out_batch
from page.compare_tab import CompareHandlers, connect_compare, lay_out_compare
from page.entries import lay_out_entries, quietly
from page.explain_tab import ExplainHandlers, connect_explain, lay_out_explain
from page.help_tab import PICTURES, lay_out_help
from page.language import catalogue_route, head_line
from page.learn_tab import LearnHandlers, connect_learn, lay_out_learn
from page.save_case import lay_out_keeping
from page.security import LOOPBACK, Guard
from page.service import CanAnswer, Loading
from page.sessions import forget_old_sessions, harden_gradio, no_proxy_for
from page.theme import theme
from page.worker import share_arenas

LARGEST_FILE = "100mb"  # 50 megapixels, the most that is read, at 16 bit
WAITING_ROOM = 16  # visitors in the queue before the page says that it is full
SESSIONS = 32  # sessions whose pictures are kept in memory at once
UPLOADS = UploadFolder(PRIVATE_FOLDER)
PAGE = Path(__file__).resolve().parent / "page"
STYLES = [PAGE / name for name in ("style.css", "viewer.css", "batch.css", "learn.css", "help.css")]
SCRIPTS = [
    PAGE / name for name in ("language.js", "stream.js", "entries.js", "viewer.js", "batch.js", "learn.js", "help.js")
]
STATIC = sorted((PAGE / "static").iterdir())
LIBRARY = "openseadragon-6.1.1.min.js"  # of the viewer, from page/static; this server is asked for nothing else of it


def build_app(assessor: CanAnswer, save_cases: Path | None = None, calibration: str = "") -> gr.Blocks:
    """The page around an assessor.

    Args:
        assessor: answers.
        save_cases: a folder for confirmed cases, if whoever serves the page named one.
        calibration: the version of the local calibration by which the assessor corrects; "" without one.
    """
    with gr.Blocks(title=text.TITLE, delete_cache=(600, 600), analytics_enabled=False) as page:
        gr.HTML(text.HEADER + text.calibration(calibration))
        with gr.Row(elem_id="baa-columns"):
            with gr.Column(elem_id="baa-entries", min_width=0):
                left = lay_out_entries()
            with gr.Column(elem_id="baa-tabs", min_width=0), gr.Tabs(selected="assess") as tabs:
                with gr.Tab("Case", id="assess", elem_classes="baa-area"):
                    right = lay_out_results()
                    if save_cases is not None:
                        lay_out_keeping(left, save_cases)
                with gr.Tab("Explain", id="explain", elem_classes="baa-area"):
                    explained = lay_out_explain()
                with gr.Tab("Compare", id="compare", elem_classes="baa-area"):
                    compared = lay_out_compare()
                with gr.Tab("Batch", id="batch", elem_id="baa-batch"):
                    batch = lay_out_batch()
                with gr.Tab("Learn", id="learn", elem_id="baa-learn"):
                    learned = lay_out_learn()
                with gr.Tab("Help", id="help", elem_id="baa-help"):
                    lay_out_help()
        left.go.click(lambda: gr.Tabs(selected="assess"), None, tabs, queue=False, **quietly(left.empty))
        connect(page, Handlers(assessor, UPLOADS), left, right)
        connect_explain(page, ExplainHandlers(assessor), left, explained, right.kept)
        connect_compare(page, CompareHandlers(assessor), left, compared)
        connect_batch(page, BatchHandlers(assessor, UPLOADS), batch)
        connect_learn(LearnHandlers(assessor, UPLOADS), learned, left.chosen, right.kept)
    return page.queue(max_size=WAITING_ROOM, api_open=False)  # closed: nothing passes the queue


def static_file(request: Request) -> Response:
    """A file of page/static by its name."""
    path = PAGE / "static" / request.path_params["name"]
    return FileResponse(path) if path in STATIC else PlainTextResponse("There is no such file.", 404)


@asynccontextmanager
async def knowing_uploads(server: gr.routes.App) -> AsyncIterator[None]:
    """Before the server answers its first request: where uploads go, and that forgotten ones go."""
    server.uploaded_file_dir = UPLOADS  # type: ignore[assignment]  # Gradio makes a path of it
    forget_old_sessions(server.state_holder, UPLOADS)
    yield


def server_options(framed: bool, names: Collection[str] | None) -> dict[str, Any]:
    """What Gradio's server is made with: the guard, the page's own routes and uploads. Arguments as of `Guard`."""
    # A route and no mount: Starlette looks for mounted files under the proxy's path too, which the proxy has taken off.
    static = Route("/baa-static/{name}", static_file)
    health = Route("/baa-health", lambda _: PlainTextResponse("ok"))  # for whoever watches over a container
    return {
        "middleware": [Middleware(Guard, uploads=UPLOADS, framed=framed, names=names)],
        "routes": [catalogue_route(), health, PICTURES, static],
        "lifespan": knowing_uploads,
        **dict.fromkeys(("docs_url", "redoc_url", "openapi_url")),
    }


def serve(
    page: gr.Blocks,
    host: str,
    port: int | None,
    open_browser: bool,
    root_path: str | None = None,
    names: Sequence[str] = (),
    login: Sequence[tuple[str, str]] = (),
) -> None:
    """Answer on host and port until stopped; a Hugging Face Space prescribes both.

    Args:
        page: of `build_app`.
        host: to answer on.
        port: to answer on; the first free one from 7860 if left out.
        open_browser: open the page.
        root_path: the path under which a proxy serves the page; as GRADIO_ROOT_PATH says if left out.
        names: under which the page may be asked for besides this machine's own; on an address that others can reach
            any name will do if none is given.
        login: names and passwords; none lets everybody in.
    """
    in_space = "SPACE_ID" in os.environ
    any_name = in_space or (host not in LOOPBACK and not names)
    known = None if any_name else {*LOOPBACK, host, *(name.lower() for name in names)}
    harden_gradio()
    no_proxy_for(host)
    os.chdir(PRIVATE_FOLDER)  # Gradio may hand out files of the folder it runs in: let that be an empty one
    page.launch(
        server_name="0.0.0.0" if in_space else host,
        server_port=7860 if in_space else port,
        inbrowser=open_browser and not in_space,
        share=False,
        root_path=root_path,
        show_error=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=LARGEST_FILE,
        state_session_capacity=SESSIONS,
        allowed_paths=[],
        blocked_paths=[str(PAGE.parent)],
        app_kwargs=server_options(in_space, known),
        auth=list(login) or None,
        enable_monitoring=False,
        strict_cors=True,
        ssr_mode=False,
        footer_links=[],
        theme=theme(),
        css_paths=STYLES,
        head=head_line()
        + f'<script src="baa-static/{LIBRARY}"></script>'
        + "".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in SCRIPTS),
    )
    print(f"The page answers at {page.local_url} (stop with Ctrl+C). {DISCLAIMER}", flush=True)
    page.block_thread()


def main() -> None:
    """Read the command line and serve the page."""
    parser = argparse.ArgumentParser(description="Serve the bone age page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to answer on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port to answer on (default: the first free one from 7860)")
    parser.add_argument("--root-path", metavar="PATH", help="path under which a proxy serves the page, as /bone-age")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="answer under this name, too")
    parser.add_argument("--login", type=Path, metavar="F", help="ask for a login; the file has lines of name:password")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--save-cases", type=Path, metavar="DIR", help="offer to keep confirmed cases there")
    parser.add_argument("--calibration", type=Path, metavar="F.json", help="correct by this local calibration")
    options = parser.parse_args()
    share_arenas()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    captum_attr()  # before there are threads: see there
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl+C does, sessions and files closed
    has_screen = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    cases = options.save_cases.resolve() if options.save_cases else None
    assessor = Loading(DEFAULT_RECIPE, options.calibration.resolve() if options.calibration else None)
    try:
        calibration = assessor.local_calibration()
    except BoneAgeError as error:
        sys.exit(str(error))
    page = build_app(assessor, cases, calibration)
    open_browser = has_screen and not options.no_browser
    try:
        login = read_login(options.login) if options.login else ()
        serve(page, options.host, options.port, open_browser, options.root_path, options.allow_host, login)
    except (OSError, ValueError) as error:  # a port in use, a login file that is none
        sys.exit(f"The page could not start: {error}")
    except KeyboardInterrupt:  # before it answers; afterwards Gradio ends it
        sys.exit(130)


def read_login(path: Path) -> list[tuple[str, str]]:
    """Names and passwords of a file with a line of name:password for each.

    Raises:
        ValueError: a line is none, or there is none.
    """
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    pairs = [(name, password) for name, _, password in (line.partition(":") for line in lines)]
    if not pairs or not all(name and password for name, password in pairs):
        raise ValueError(f"{path.name} must have lines of name:password.")
    return pairs


if __name__ == "__main__":
    main()
