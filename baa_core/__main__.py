"""The command line: `python -m baa_core assess | batch | evaluate`.

Exit status: 0 if every radiograph was assessed, 2 if any was refused, 1 for wrong usage.
With `--json` standard output holds one JSON object a line and nothing else; everything
meant for people goes to standard error.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .batch import Batch, refusal, run_batch
from .cases import Cases, mean_train_age, read_cases
from .errors import BoneAgeError, WeightsCorrupt, WeightsMissing
from .evaluation import Evaluation, evaluate
from .figures import (
    bland_altman_figure,
    encode_png,
    error_by_age_figure,
    mask_picture,
    overlay,
    predicted_figure,
    write_figure,
    years_and_months,
)
from .pipeline import Assessor, load_assessor
from .recipes import RECIPES, find_recipe
from .types import DISCLAIMER, Patient, Report, parse_sex

ALL_ASSESSED, WRONG_USAGE, SOME_REFUSED, INTERRUPTED = 0, 1, 2, 130


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
        return run(options)
    except (WeightsMissing, WeightsCorrupt) as error:
        print(error, file=sys.stderr)
        return SOME_REFUSED
    except BoneAgeError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    except OSError as error:
        print(f"A file could not be read or written: {error.strerror or 'unknown reason'}.", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept.", file=sys.stderr)
        return INTERRUPTED


def build_parser() -> Parser:
    """The three commands and their options."""
    parser = Parser(prog="python -m baa_core", description=f"Bone age from hand radiographs. {DISCLAIMER}")
    parser.add_argument("--version", action="version", version=f"baa_core {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    assess = commands.add_parser("assess", help="assess radiographs", allow_abbrev=False)
    assess.add_argument("files", nargs="+", metavar="FILE", help="PNG, JPEG, TIFF, BMP, WebP or DICOM")
    assess.add_argument("--sex", required=True, metavar="{female,male,unknown}", help="as entered for the child")
    assess.add_argument("--age-months", type=float, metavar="N", help="chronological age")
    assess.add_argument("--json", action="store_true", help="one JSON object a line")
    assess.add_argument("--heatmap", type=Path, metavar="OUT.png", help="draw what moved the estimate (one FILE only)")
    assess.add_argument("--mask", type=Path, metavar="OUT.png", help="draw the hand mask (one FILE only)")
    assess.set_defaults(run=run_assess)

    batch = commands.add_parser("batch", help="assess a table of radiographs", allow_abbrev=False)
    batch.add_argument("table", type=Path, metavar="TABLE.csv", help="columns file, sex; others are carried through")
    batch.add_argument("--images", type=Path, required=True, metavar="DIR", help="where the files are")
    batch.add_argument("--out", type=Path, required=True, metavar="RESULTS.csv", help="continued if it is there")
    batch.set_defaults(run=run_batch_command)

    for command in (assess, batch):
        command.add_argument("--recipe", default="deeplasia", metavar="NAME", help=f"one of: {', '.join(RECIPES)}")

    evaluation = commands.add_parser("evaluate", help="compare results with labels", allow_abbrev=False)
    evaluation.add_argument("results", type=Path, metavar="RESULTS.csv", help="as batch writes it")
    evaluation.add_argument("--labels", type=Path, required=True, metavar="LABELS.csv", help="the truth")
    evaluation.add_argument("--out", type=Path, required=True, metavar="DIR", help="made if not there")
    evaluation.set_defaults(run=run_evaluate)
    return parser


def run_assess(options: argparse.Namespace) -> int:
    """One report for each FILE; a refused one does not stop the others."""
    find_recipe(options.recipe)
    _check_pictures(options)
    status = ALL_ASSESSED
    assessor: Assessor | None = None
    for file in options.files:
        try:
            with redirect_stdout(sys.stderr):  # whatever a library has to say is no result
                patient = Patient(parse_sex(options.sex), options.age_months)
                assessor = assessor or load_assessor(options.recipe)
                report = assessor.assess(file, patient, explain=options.heatmap is not None)
            text = _write_out(report.to_dict() | {"file": file}, options.json)
            _write_pictures(report, options)
        except WrongUsage:
            raise
        except Exception as error:  # noqa: BLE001, a traceback may quote the file
            status = SOME_REFUSED
            text = _write_out(refusal(file, options.recipe, error), options.json)
        print(text, flush=True)
    return status


def run_batch_command(options: argparse.Namespace) -> int:
    """Assess a table, or what is left of it."""
    find_recipe(options.recipe)
    batch = Batch(options.table, options.images, options.out, options.recipe)
    with redirect_stdout(sys.stderr):
        tally = run_batch(batch, lambda: load_assessor(options.recipe))
    print(f"{tally.assessed} assessed, {tally.refused} refused: {options.out}")
    return SOME_REFUSED if tally.refused else ALL_ASSESSED


def run_evaluate(options: argparse.Namespace) -> int:
    """Write evaluation.json, evaluation.md and three figures."""
    cases = read_cases(options.results, options.labels)
    evaluation = evaluate(cases, mean_train_age(options.labels))
    words = [str(word) for word in (options.results, "--labels", options.labels, "--out", options.out)]
    command = "python -m baa_core evaluate " + shlex.join(words)
    if options.out.exists() and not options.out.is_dir():
        raise WrongUsage(f"{options.out.name} is a file, but --out needs a folder. Name another one.")
    options.out.mkdir(parents=True, exist_ok=True)
    document = {"command": command, **evaluation.to_dict()}
    (options.out / "evaluation.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    (options.out / "evaluation.md").write_text(evaluation.to_markdown(command), "utf-8")
    _write_figures(cases, evaluation, options.out)
    group = document["groups"]["all"]
    print(f"{group['n']} radiographs, MAE {group['mae_months']} months, refused {group['n_refused']}: {options.out}")
    return ALL_ASSESSED


def summarise(result: dict[str, Any]) -> str:
    """A result's dict as lines for people."""
    if result["status"] == "refused":
        return f"{result['file']}\n  Refused           {result['error']['message']}\n"
    low, high = result["interval_months"]
    sex = f"entered {result['sex_entered']}, estimate made for {result['sex_used']}; the picture suggests "
    sex += f"{result['sex_predicted']} (probability of male {result['sex_probability_male']:.2f})"
    lines = [
        ("Bone age", f"{years_and_months(result['bone_age_months'])} ({result['bone_age_months']:.1f} months)"),
        ("90 % interval", f"{years_and_months(low)} to {years_and_months(high)} ({low:.1f} to {high:.1f} months)"),
        ("Sex", sex),
        ("If female", years_and_months(result["bone_age_if_female_months"])),
        ("If male", years_and_months(result["bone_age_if_male_months"])),
        *(("Caution", caution["message"]) for caution in result["cautions"]),
        ("Recipe", result["recipe"] + "".join(f", {name} {m:.1f}" for name, m in result["members"].items())),
    ]
    if (age := result["chronological_age_months"]) is not None:
        lines.insert(2, ("Age today", f"{years_and_months(age)} ({age:g} months)"))
    return "\n".join([result["file"], *(f"  {name:<16}  {text}" for name, text in lines), f"  {DISCLAIMER}\n"])


def _write_out(result: dict[str, Any], as_json: bool) -> str:
    return json.dumps(result, allow_nan=False) if as_json else summarise(result)


def _check_pictures(options: argparse.Namespace) -> None:
    """Refuse picture names that cannot be meant, before any work.

    Raises:
        WrongUsage: several FILEs for one picture, no PNG name, no such folder, or a FILE would be overwritten.
    """
    named = [path for path in (options.heatmap, options.mask) if path is not None]
    if named and len(options.files) > 1:
        raise WrongUsage("--heatmap and --mask name one picture, so give one FILE with them.")
    if len({path.resolve() for path in named}) < len(named):
        raise WrongUsage("--heatmap and --mask name the same file. Give each its own.")
    for path in named:
        if path.suffix.lower() != ".png":
            raise WrongUsage(f"{path.name} does not end in .png, but a PNG is written. Name it so.")
        if not path.parent.is_dir():
            raise WrongUsage(f"The folder for {path.name} is not there. Make it first.")
        if path.resolve() == Path(options.files[0]).resolve():
            raise WrongUsage(f"{path.name} would overwrite the radiograph itself. Give another name.")


def _write_pictures(report: Report, options: argparse.Namespace) -> None:
    """The pictures asked for.

    Raises:
        WrongUsage: one cannot be written.
    """
    pictures: dict[Path, bytes] = {}
    if options.heatmap is not None and report.explanation is not None:
        blended = overlay(report.radiograph.pixels, inverted=report.hand.inverted, heat=report.explanation.heat)
        pictures[options.heatmap] = encode_png(blended)
    if options.mask is not None:
        pictures[options.mask] = encode_png(mask_picture(report.hand.pixels))
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
    sys.exit(main())
