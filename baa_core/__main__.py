"""The command line: `python -m baa_core assess | explain | compare | batch | calibrate-local | evaluate | changes`.

Exit status: 0 if every radiograph was assessed, 2 if any was refused, 1 for wrong usage.
With `--json` standard output holds one JSON object a line and nothing else; everything
meant for people goes to standard error.
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # Ctrl+C while modules load ends in silence; `main` catches it from then on
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import io
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from .errors import BoneAgeError, InvalidCalibration, UnreadableImage, WeightsCorrupt, WeightsMissing
from .estimation.local_calibration import fit_local_calibration, read_local_calibration
from .evaluation.batch import Batch, run_batch
from .evaluation.changes import compare_results
from .evaluation.heatmaps import Heatmaps
from .evaluation.local_cases import read_local_cases
from .evaluation.metrics import Evaluation, evaluate
from .evaluation.pairs import Cases, mean_train_age, read_cases
from .evaluation.results import PART_ROWS
from .explanation.methods import METHODS, find_method
from .export.content import Identity, ReportContent, collect
from .export.dicom import identity_in
from .export.forms import FORMS, check_forms
from .export.plain import json_report
from .faults import log_fault
from .io import read_bytes
from .networks.store import NetworkStore
from .recipes import DEFAULT_RECIPE, RECIPES, find_recipe
from .reference.growth import CONVENTIONS, DEFAULT_CONVENTION
from .reporting.charts import bland_altman_figure, error_by_age_figure, predicted_figure, write_figure
from .reporting.language import LANGUAGES
from .reporting.overlays import encode_png, heatmap_png, mask_picture
from .reporting.text import summarise, summarise_panel, summarise_systems
from .types import DISCLAIMER, HAND_CHOICES, ManualEdits, Patient, Prediction, Report, parse_sex, refusal
from .version import __version__
from .workflows.assess import Assessor, load_assessor
from .workflows.compare import compare, load_compared, picture_names, pictures_of, summarise_comparison, to_dict
from .workflows.explain import DEFAULT_METHOD, explain_estimate, write_panel

REPORTS = ("text", "pdf", "fhir", "sr", "sc")  # of `export.FORMS`, each a flag; `--json` prints the JSON
ALL_ASSESSED, WRONG_USAGE, SOME_REFUSED, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141


class WrongUsage(BoneAgeError):
    """The command line asks for something it cannot have."""


class Parser(argparse.ArgumentParser):
    """argparse with this program's exit status for wrong usage (argparse's own, 2, means refused here)."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to ask."""
        self.exit(WRONG_USAGE, f"{self.format_usage()}{message[:1].upper()}{message[1:]}.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status comes back."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        status = run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output, such as `head`, has enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 so that the flush at the end does not fail again
        return CLOSED_PIPE
    except (WeightsMissing, WeightsCorrupt) as error:
        print(error, file=sys.stderr)
        return SOME_REFUSED
    except BoneAgeError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    except OSError as error:
        log_fault(error)
        print(f"A file could not be read or written: {error.strerror or 'unknown reason'}.", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001, Python's own traceback would quote messages
        log_fault(error)
        print(f"This could not be done because of a fault in the software ({type(error).__name__}).", file=sys.stderr)
        return WRONG_USAGE


def build_parser() -> Parser:
    """The six commands and their options."""
    parser = Parser(prog="python -m baa_core", description=f"Bone age from hand radiographs. {DISCLAIMER}")
    parser.add_argument("--version", action="version", version=f"baa_core {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    assess = commands.add_parser("assess", help="assess radiographs", allow_abbrev=False)
    assess.add_argument("files", nargs="+", metavar="FILE", help="PNG, JPEG, TIFF, BMP, WebP or DICOM")
    assess.add_argument("--sex", required=True, metavar="{female,male,unknown}", help="as entered for the child")
    assess.add_argument("--age-months", type=float, metavar="N", help="chronological age")
    assess.add_argument("--age-group", type=int, metavar="N", help="the group it is in, for a recipe that has some")
    assess.add_argument("--hand", choices=HAND_CHOICES, help="which of several hands, by its side of the picture")
    assess.add_argument("--json", action="store_true", help="one JSON object a line")
    assess.add_argument("--heatmap", type=Path, metavar="OUT.png", help="draw what moved the estimate (one FILE only)")
    assess.add_argument("--mask", type=Path, metavar="OUT.png", help="draw the hand mask (one FILE only)")
    for form in REPORTS:
        title, needs = FORMS[form].title, ", of a DICOM file" if FORMS[form].needs_dicom else ""
        assess.add_argument(f"--{form}", type=Path, metavar="OUT", help=f"report: {title}{needs} (one FILE only)")
    assess.add_argument("--reference", choices=CONVENTIONS, help="compare with --age-months by this convention")
    assess.add_argument("--identify", action="store_true", help="name the patient of the DICOM header in the reports")
    assess.add_argument("--language", choices=LANGUAGES, default="en", help="of the reports as text and PDF")
    assess.set_defaults(run=run_assess)

    explain = commands.add_parser("explain", help="explain one estimate, and test the explanation", allow_abbrev=False)
    explain.add_argument("--method", default=DEFAULT_METHOD, metavar="NAME", help=f"one of: {', '.join(METHODS)}")
    explain.add_argument("--out", type=Path, metavar="DIR", help="write pictures and figures here; made if not there")
    explain.set_defaults(run=run_explain)

    side_by_side = commands.add_parser("compare", help="one radiograph by every recipe", allow_abbrev=False)
    side_by_side.add_argument("--age-months", type=float, metavar="N", help="chronological age")
    side_by_side.add_argument("--out", type=Path, metavar="DIR", help="write each one's pictures; made if not there")
    side_by_side.set_defaults(run=run_compare)
    for command in (explain, side_by_side):
        command.add_argument("file", metavar="FILE", help="PNG, JPEG, TIFF, BMP, WebP or DICOM")
        command.add_argument("--sex", required=True, metavar="{female,male,unknown}", help="as entered for the child")
        command.add_argument("--json", action="store_true", help="one JSON object")
    for command in (assess, explain, side_by_side):
        _add_edits(command)

    batch = commands.add_parser("batch", help="assess a table of radiographs", allow_abbrev=False)
    batch.add_argument(
        "table", type=Path, metavar="TABLE", help="CSV or Parquet; columns file, sex; others are carried through"
    )
    batch.add_argument(
        "--images", required=True, metavar="DIR", help="where the files are: a folder or a URL (s3://bucket/prefix)"
    )
    batch.add_argument(
        "--out", type=Path, required=True, metavar="RESULTS", help=".csv or .parquet (a folder); continued if there"
    )
    batch.add_argument("--part-rows", type=int, default=PART_ROWS, metavar="N", help="rows of a Parquet part")
    batch.add_argument("--heatmaps", type=Path, metavar="OUT", help="a PNG a row in this folder, or arrays in OUT.zarr")
    batch.add_argument("--hand", choices=HAND_CHOICES, help="which of several hands, by its side of the picture")
    batch.add_argument("--processes", type=int, default=1, metavar="N", help="assess on so many processes (default: 1)")
    batch.add_argument("--engine", choices=("pool", "ray"), default="pool", help="what shares the rows out")
    batch.set_defaults(run=run_batch_command)

    calibrate = commands.add_parser("calibrate-local", help="fit a clinic's own correction", allow_abbrev=False)
    calibrate.add_argument(
        "table", type=Path, metavar="RESULTS.csv", help="as batch writes it; with --images: its TABLE"
    )
    calibrate.add_argument("--labels", type=Path, metavar="LABELS.csv", help="the references, if not in the results")
    calibrate.add_argument("--images", type=Path, metavar="DIR", help="assess the TABLE first, with files from there")
    calibrate.add_argument("--out", type=Path, required=True, metavar="F.json", help="the file for --calibration")
    calibrate.set_defaults(run=run_calibrate_local)
    for command in (assess, explain, side_by_side, batch):
        command.add_argument("--calibration", type=Path, metavar="F.json", help="correct by this local calibration")

    for command in (assess, explain, batch, calibrate):
        command.add_argument("--recipe", default=DEFAULT_RECIPE, metavar="NAME", help=f"one of: {', '.join(RECIPES)}")

    evaluation = commands.add_parser("evaluate", help="compare results with labels", allow_abbrev=False)
    evaluation.add_argument("results", type=Path, metavar="RESULTS", help="as batch writes it")
    evaluation.add_argument("--labels", type=Path, required=True, metavar="LABELS.csv", help="the truth")
    evaluation.add_argument("--out", type=Path, required=True, metavar="DIR", help="made if not there")
    evaluation.set_defaults(run=run_evaluate)

    changes = commands.add_parser("changes", help="what changed between two results tables", allow_abbrev=False)
    changes.add_argument("before", type=Path, metavar="BEFORE", help="as batch writes it")
    changes.add_argument("after", type=Path, metavar="AFTER", help="of the same radiographs")
    changes.add_argument("--json", action="store_true", help="one JSON object")
    changes.set_defaults(run=run_changes)
    return parser


def _add_edits(command: argparse.ArgumentParser) -> None:
    """Changes of the picture by hand, in the order in which they are done."""
    edges = ("LEFT", "TOP", "RIGHT", "BOTTOM")
    command.add_argument("--crop", type=int, nargs=4, metavar=edges, help="first crop the picture, pixels of the file")
    command.add_argument("--rotate", type=int, choices=(90, 180, 270), help="then turn it clockwise, degrees")
    command.add_argument("--mirror", action="store_true", help="then exchange left and right")
    command.add_argument(
        "--invert", action=argparse.BooleanOptionalAction, help="then invert the greys; left out: as the network finds"
    )


def _edits(options: argparse.Namespace) -> ManualEdits:
    """What is done to the picture by hand.

    Raises:
        InvalidEdits: a crop without area.
    """
    crop = None if options.crop is None else tuple(options.crop)
    return ManualEdits(crop, (options.rotate or 0) // 90, options.mirror, options.invert)


def run_assess(options: argparse.Namespace) -> int:
    """One report for each FILE; a refused one does not stop the others."""
    find_recipe(options.recipe)
    _read_calibration(options.calibration)
    _check_pictures(options)
    identity, edits = _check_reports(options), _edits(options)
    heatmap = any((options.heatmap, options.pdf, options.sc))
    status = ALL_ASSESSED
    assessor: Assessor | None = None
    content: ReportContent | None
    for file in options.files:
        try:
            with redirect_stdout(sys.stderr):  # whatever a library has to say is no result
                patient = Patient(parse_sex(options.sex), options.age_months)
                assessor = assessor or load_assessor(options.recipe, local_calibration=options.calibration)
                report = assessor.assess(
                    file, patient, explain=heatmap, age_group=options.age_group, hand=options.hand, edits=edits
                )
            convention = options.reference or DEFAULT_CONVENTION
            content = collect(report, convention=convention, identity=identity, language=options.language)
            result = json_report(content) if options.reference else report.to_dict()
            text = _write_out(result | {"file": file}, options.json)
            _write_pictures(report, options)
        except WrongUsage:
            raise
        except Exception as error:  # noqa: BLE001, a traceback may quote the file
            status = SOME_REFUSED
            _log_unexpected(error)
            text, content = _write_out(refusal(file, options.recipe, error), options.json), None
        print(text, flush=True)
        if content is not None:
            _write_reports(content, options)
    return status


def run_explain(options: argparse.Namespace) -> int:
    """One panel, with its pictures and figures if asked for."""
    find_recipe(options.recipe)
    find_method(options.method)
    _read_calibration(options.calibration)
    edits = _edits(options)
    if options.out is not None:
        _make_folder(options.out)
    try:
        with redirect_stdout(sys.stderr):
            patient = Patient(parse_sex(options.sex))
            assessor = load_assessor(options.recipe, local_calibration=options.calibration)
            panel = explain_estimate(assessor, options.file, patient, options.method, _Progress(), edits=edits)
    except Exception as error:  # noqa: BLE001, a traceback may quote the file
        _log_unexpected(error)
        print(_write_out(refusal(options.file, options.recipe, error), options.json))
        return SOME_REFUSED
    if options.out is not None:
        write_panel(panel, options.out)
    result = panel.to_dict() | {"file": options.file}
    print(json.dumps(result, allow_nan=False) if options.json else summarise_panel(panel))
    return ALL_ASSESSED


def run_compare(options: argparse.Namespace) -> int:
    """One radiograph by every recipe; one that refuses does not stop the others."""
    if options.out is not None:
        _make_folder(options.out)
        if any((options.out / name).resolve() == Path(options.file).resolve() for name in picture_names()):
            raise WrongUsage(f"{options.file} would be overwritten by a picture of that name. Give another --out.")
    say, edits, load = _Progress(), _edits(options), _load_with(options.calibration)
    rows: list[dict[str, Any]] = []
    predictions: list[Prediction | None] = []
    pictures: dict[str, bytes] = {}
    try:
        with redirect_stdout(sys.stderr):
            patient = Patient(parse_sex(options.sex), options.age_months)
            answers = compare(
                options.file, patient, load=load, on_stage=lambda *said: say(": ".join(said)), edits=edits
            )
            for compared in answers:
                pictures |= pictures_of(compared) if options.out is not None else {}
                rows.append(compared.to_dict(options.file))
                predictions.append(compared.prediction)
    except Exception as error:  # noqa: BLE001, a traceback may quote the file
        _log_unexpected(error)
        rows += [refusal(options.file, name, error) | {"seconds": 0.0} for name in list(RECIPES)[len(rows) :]]
        predictions += [None] * (len(rows) - len(predictions))
    _write_files({options.out / name: content for name, content in pictures.items()})
    result = to_dict(options.file, rows, summarise_comparison(predictions))
    print(json.dumps(result, allow_nan=False) if options.json else summarise_systems(result))
    return SOME_REFUSED if None in predictions else ALL_ASSESSED


def _load_with(calibration: Path | None) -> Callable[[str], Assessor]:
    """Recipe name to its assessor, for a comparison; the one that a local calibration was made with is corrected.

    Raises:
        InvalidCalibration: it is no such file, or of a recipe that is not compared.
    """
    local, store = None if calibration is None else read_local_calibration(calibration), NetworkStore.of_folder()
    if local is not None and local.recipe not in RECIPES:
        raise InvalidCalibration(
            f"The local calibration was made with the recipe '{local.recipe[:40]}', which is none of those compared "
            f"({', '.join(RECIPES)}). Leave it out, or make one of these by calibrate-local."
        )

    def load(recipe: str) -> Assessor:
        assessor = load_compared(recipe, store)
        return assessor.calibrated_by(local) if local is not None and local.recipe == recipe else assessor

    return load


def _log_unexpected(error: Exception) -> None:
    """What `refusal` calls a fault in the software goes to standard error with its traceback."""
    if not isinstance(error, BoneAgeError):
        log_fault(error)


class _Progress:
    """Says each stage once, to standard error."""

    said = ""

    def __call__(self, stage: str) -> None:
        if stage != self.said:
            print(f"{stage} ...", file=sys.stderr)
            self.said = stage


def run_batch_command(options: argparse.Namespace) -> int:
    """Assess a table, or what is left of it."""
    find_recipe(options.recipe)
    version = _read_calibration(options.calibration)
    heatmaps = None if options.heatmaps is None else Heatmaps(options.heatmaps, heatmap_png)
    batch = Batch(
        options.table, options.images, options.out, options.recipe, version, options.hand, heatmaps, options.part_rows
    )
    if min(options.processes, options.part_rows) < 1:
        raise WrongUsage("--processes and --part-rows must be at least 1.")
    load = partial(load_assessor, options.recipe, local_calibration=options.calibration)
    with redirect_stdout(sys.stderr):
        tally = run_batch(batch, load, processes=options.processes, engine=options.engine)
    print(f"{tally.assessed} assessed, {tally.refused} refused: {options.out}")
    return SOME_REFUSED if tally.refused else ALL_ASSESSED


def _read_calibration(path: Path | None) -> str:
    """The version of a local calibration, before any work; "" without one.

    Raises:
        InvalidCalibration: it is no such file.
    """
    return "" if path is None else read_local_calibration(path).version


def run_calibrate_local(options: argparse.Namespace) -> int:
    """Fit a clinic's own correction and say what it gains; with --images assess its radiographs first."""
    find_recipe(options.recipe)
    results: Path = options.table
    if not options.out.parent.is_dir():
        raise WrongUsage(f"The folder for {options.out.name} is not there. Make it first.")
    if options.images is not None:
        results = options.out.with_name(f"{options.out.stem}_results.csv")
        batch = Batch(options.table, options.images, results, options.recipe)
        with redirect_stdout(sys.stderr):
            run_batch(batch, lambda: load_assessor(options.recipe))
        print(f"Results: {results}")
    if options.out.resolve() in (options.table.resolve(), options.labels and options.labels.resolve()):
        raise WrongUsage(f"{options.out.name} would overwrite a table. Give another name.")
    cases = read_local_cases(results, options.labels)
    made = fit_local_calibration(cases)
    _write_files({options.out: made.to_json()})
    for reason, count in cases.left_out.items():
        print(f"Left out, {reason}: {count}")
    for sex, line in made.by_sex.items():
        low, high = line.range_months
        ends = f"{line.correct(low) - low:+.1f} months at {low:.0f}, {line.correct(high) - high:+.1f} at {high:.0f}"
        print(f"{sex}: {line.cases} cases; correction {ends}; interval widened {line.interval_factor:.2f} times")
    print(f"{made.gain['all'].sentence}\nLocal calibration {made.version}: {options.out}")
    return ALL_ASSESSED


def run_evaluate(options: argparse.Namespace) -> int:
    """Write evaluation.json, evaluation.md and three figures."""
    cases = read_cases(options.results, options.labels)
    evaluation = evaluate(cases, mean_train_age(options.labels))
    words = [str(word) for word in (options.results, "--labels", options.labels, "--out", options.out)]
    command = "python -m baa_core evaluate " + shlex.join(words)
    _make_folder(options.out)
    document = {"command": command, **evaluation.to_dict()}
    (options.out / "evaluation.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    (options.out / "evaluation.md").write_text(evaluation.to_markdown(command), "utf-8")
    _write_figures(cases, evaluation, options.out)
    group = document["groups"]["all"]
    print(f"{group['n']} radiographs, MAE {group['mae_months']} months, refused {group['n_refused']}: {options.out}")
    return ALL_ASSESSED


def run_changes(options: argparse.Namespace) -> int:
    """Say how far two results tables of the same radiographs lie apart."""
    changes = compare_results(options.before, options.after)
    print(json.dumps(changes.to_dict(), allow_nan=False) if options.json else changes.to_text())
    return ALL_ASSESSED


def _make_folder(folder: Path) -> None:
    """Make the folder of `--out`; WrongUsage if there is a file of that name."""
    if folder.exists() and not folder.is_dir():
        raise WrongUsage(f"{folder.name} is a file, but --out needs a folder. Name another one.")
    folder.mkdir(parents=True, exist_ok=True)


def _write_out(result: dict[str, Any], as_json: bool) -> str:
    """A result as one line of JSON, or for people: then without what a file's name could tell a terminal."""
    if as_json:
        return json.dumps(result, allow_nan=False)
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in summarise(result))


def _check_pictures(options: argparse.Namespace) -> None:
    """Refuse names of pictures and reports that cannot be meant, before any work.

    Raises:
        WrongUsage: several FILEs for one picture, no PNG name, no such folder, or a FILE would be overwritten.
    """
    pictures = [path for path in (options.heatmap, options.mask) if path is not None]
    named = [*pictures, *_reports(options).values()]
    if named and len(options.files) > 1:
        raise WrongUsage("Pictures and reports are of one radiograph, so give one FILE with them.")
    if len({path.resolve() for path in named}) < len(named):
        raise WrongUsage("Two pictures or reports name the same file. Give each its own.")
    for path in named:
        if path in pictures and path.suffix.lower() != ".png":
            raise WrongUsage(f"{path.name} does not end in .png, but a PNG is written. Name it so.")
        if not path.parent.is_dir():
            raise WrongUsage(f"The folder for {path.name} is not there. Make it first.")
        if path.resolve() == Path(options.files[0]).resolve():
            raise WrongUsage(f"{path.name} would overwrite the radiograph itself. Give another name.")


def _write_pictures(report: Report, options: argparse.Namespace) -> None:
    """The pictures asked for."""
    pictures: dict[Path, bytes] = {}
    if options.heatmap is not None:
        pictures[options.heatmap] = heatmap_png(report)
    if options.mask is not None:
        pictures[options.mask] = encode_png(mask_picture(report.hand.pixels))
    _write_files(pictures)


def _reports(options: argparse.Namespace) -> dict[str, Path]:
    """Each report asked for and where to."""
    return {form: path for form in REPORTS if (path := getattr(options, form)) is not None}


def _check_reports(options: argparse.Namespace) -> Identity | None:
    """See, before any work, that the reports asked for can be made; who the patient is, if they shall say so.

    Raises:
        WrongUsage: a comparison without an age, or an identity without a report.
        BoneAgeError: the file cannot have such a report, or names nobody.
    """
    wanted = _reports(options)
    if options.reference is not None and options.age_months is None:
        raise WrongUsage("--reference compares with the chronological age. Give --age-months too.")
    if options.identify and not wanted:
        raise WrongUsage(f"--identify names the patient in a report. Give one: {', '.join(f'--{f}' for f in REPORTS)}.")
    if not wanted:
        return None
    try:
        source, name = read_bytes(options.files[0])
        check_forms(list(wanted), source, name)
        return identity_in(source, name) if options.identify else None
    except UnreadableImage:
        return None  # the assessment refuses it, and says why


def _write_reports(content: ReportContent, options: argparse.Namespace) -> None:
    """The reports asked for."""
    if wanted := _reports(options):
        source, _ = read_bytes(options.files[0])
        with redirect_stdout(sys.stderr):
            made = {path: FORMS[form].make(content, source) for form, path in wanted.items()}
        _write_files(made)


def _write_files(pictures: dict[Path, bytes]) -> None:
    """Write pictures and reports.

    Raises:
        WrongUsage: one cannot be written.
    """
    for path, data in pictures.items():
        try:
            path.write_bytes(data)
        except OSError as error:
            raise WrongUsage(f"{path.name} cannot be written ({error.strerror}). Give another name.") from None


def _write_figures(cases: Cases, evaluation: Evaluation, folder: Path) -> None:
    """The figures of an evaluation as HTML files that need no network."""
    kept = cases.where(~cases.refused)
    points = (kept.reference_months, kept.predicted_months, kept.label_sex.tolist())
    bands = {name: group for name, group in evaluation.groups.items() if "months" in name}
    write_figure(predicted_figure(*points), folder / "predicted.html")
    write_figure(bland_altman_figure(*points), folder / "bland_altman.html")
    write_figure(error_by_age_figure(*points, bands), folder / "error_by_age.html")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
