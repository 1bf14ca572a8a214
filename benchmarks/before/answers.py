"""Answers of one checkout, this one or a former one, to requests on standard input; started by `checkouts.process`.

A request is one line of JSON: the name of a function of `PROBES` and its arguments. So is the answer. Modules of the
project are imported inside the functions, by the names of both layouts, so that each checkout answers by its own code.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

Answer = dict[str, Any]


def either(*places: str) -> Any:
    """What the first of these dotted names (module:name) leads to that this checkout has."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            found = importlib.import_module(module)
            return getattr(found, name) if name else found
        except (ModuleNotFoundError, AttributeError):
            continue
    raise LookupError(f"This checkout has none of {', '.join(places)}.")


def is_former() -> bool:
    """Is this the layout of 773bc17?"""
    return Path("baa_core/pipeline.py").exists()


@cache
def assessor(recipe: str | None = None) -> Any:
    """The default system, or another one, loaded once."""
    import baa_core

    return baa_core.load_assessor() if recipe is None else baa_core.load_assessor(recipe)


def said_by(error: Exception) -> Answer:
    """A refusal, or what was not foreseen."""
    import baa_core.errors

    foreseen = isinstance(error, baa_core.errors.BoneAgeError)
    return {"refusal": type(error).__name__, "message": str(error), "foreseen": foreseen}


def assess(file: str, sex: str | None = None, age_months: float | None = None, **options: Any) -> Answer:
    """The JSON of a report, without what differs from run to run."""
    import baa_core

    report = assessor(options.pop("recipe", None)).assess(file, baa_core.Patient(sex, age_months), **options)
    return {key: value for key, value in report.to_dict().items() if key not in ("seconds", "versions")}


def read(file: str) -> Answer:
    """Pixels as 8-bit rows, and what is said of the file."""
    radiograph = either("baa_core.io:read_radiograph")(file)
    pixels = (radiograph.pixels * 255).round().astype("uint8")
    return {
        "shape": list(pixels.shape),
        "pixels": pixels.tobytes().hex(),
        "cautions": [caution.code for caution in radiograph.cautions],
    }


def hand(file: str, out: str) -> Answer:
    """The hand mask, written to a .npy file; how the hand lies; what is said of it."""
    import numpy as np

    found = find_hand(either("baa_core.io:read_radiograph")(file))
    np.save(out, found.pixels)
    return {"tilt_degrees": found.tilt_degrees, "cautions": [caution.code for caution in found.cautions]}


def find_hand(radiograph: Any) -> Any:
    """The hand of a radiograph, with the checks of an assessment."""
    found = assessor().find_hand(radiograph)
    if is_former():
        assessor().check_view(assessor().prepare(radiograph, found), radiograph.name)
        return found
    return replace(found, cautions=(*found.cautions, *assessor().check_pose(found, radiograph.name)))


def command(arguments: list[str]) -> Answer:
    """Exit status and output of `python -m baa_core` with these arguments."""
    main = importlib.import_module("baa_core.__main__").main
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
    return {"status": status, "output": out.buffer.getvalue().decode(), "errors": err.getvalue()}


def explanation(file: str, sex: str | None, method: str = "saliency", recipe: str | None = None) -> Answer:
    """An explanation in full: its JSON, the sentence over it, the cautions of an assessment of the same file."""
    import baa_core

    explain = either("baa_core.workflows.explain:explain_estimate", "baa_core.inquiry:examine")
    patient = baa_core.Patient(sex)
    with few_changes(1):
        panel = explain(assessor(recipe), file, patient, method)
    said = assessor(recipe).assess(file, patient).cautions
    headline = either("page.explain_text:plain_verdict")(panel)
    return {
        "panel": panel.to_dict(),
        "headline": headline.split("</p>")[0].split(">")[-1],
        "checks": headline.count("<li"),
        "shares": dict(panel.shares),
        "cautions": [caution.code for caution in panel.cautions],
        "assessment_cautions": [caution.code for caution in said],
    }


def few_changes(count: int) -> Any:
    """So many of the changes that test robustness, as each costs an assessment."""
    changes = either("baa_core.explanation.robustness:TRANSFORMS", "baa_core.explain.drift:TRANSFORMS")
    return mock.patch.dict(changes, dict(list(changes.items())[:count]), clear=True)


def regions_passed(file: str, recipe: str) -> Answer:
    """Whether an explanation by this system gets past its regions; it is ended there."""
    import baa_core

    explain = either("baa_core.workflows.explain:explain_estimate", "baa_core.inquiry:examine")

    def until(stage: str) -> None:
        if stage in ("trying the map", "testing faithfulness"):
            raise KeyboardInterrupt

    try:
        explain(assessor(recipe), file, baa_core.Patient("female"), "saliency", until)
    except KeyboardInterrupt:
        return {"passed": True}
    return {"passed": False}


def heatmap_by_weight(file: str) -> Answer:
    """How far the heatmap lies from its members' mean by weight, and from their plain mean."""
    import numpy as np

    import baa_core

    whole, patient = assessor(), baa_core.Patient("female")
    members = [member for member in whole.recipe.members if "female" in member.sexes]
    heats = []
    for member in members:
        of_any_length = {"least_hand_px": 0.0} if hasattr(member, "least_hand_px") else {}
        alone = replace(whole, recipe=replace(whole.recipe, members=(replace(member, **of_any_length),)))
        heats.append(alone.assess(file, patient, explain=True).explanation.heat)
    weights = [member.weight for member in members]
    shown = whole.assess(file, patient, explain=True).explanation.heat
    apart = [float(np.abs(shown - mean).mean()) for mean in (np.average(heats, 0, weights), np.mean(heats, 0))]
    return {"weights": weights, "from_weighted": apart[0], "from_plain": apart[1]}


def shared_hooks(file: str) -> Answer:
    """How many hooks Grad-CAM sets on networks that other threads use at the same time."""
    from torch import nn

    import baa_core

    whole, patient = assessor(), baa_core.Patient("female")
    shared = {id(part) for member in whole.recipe.members for part in whole.network(member).modules()}
    explain = either("baa_core.workflows.explain:explain_estimate", "baa_core.inquiry:examine")
    found: list[str] = []
    kinds = ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook")
    originals = {kind: getattr(nn.Module, kind) for kind in kinds}

    def watching(kind: str) -> Callable[..., Any]:
        def register(self: nn.Module, *given: Any, **named: Any) -> Any:
            found.extend([kind] if id(self) in shared else [])
            return originals[kind](self, *given, **named)

        return register

    def until(stage: str) -> None:
        if stage in ("going region by region", "measuring region effects"):
            raise KeyboardInterrupt

    with contextlib.ExitStack() as patched:
        for kind in kinds:
            patched.enter_context(mock.patch.object(nn.Module, kind, watching(kind)))
        with contextlib.suppress(KeyboardInterrupt):
            explain(whole, file, patient, "grad_cam", until)
    return {"hooks": len(found)}


def broken_weights(file: str, folder: str, where: str, name: str) -> Answer:
    """An assessment with one NaN in a weights file, or in a bias of the manifest."""
    import numpy as np
    from safetensors.numpy import load, save

    import baa_core

    made, served = Path(folder), Path("weights").resolve()
    made.mkdir(exist_ok=True)
    for path in served.iterdir():
        if path.is_file() and path.name != "manifest.json":
            (made / path.name).symlink_to(path)
    manifest = json.loads((served / "manifest.json").read_text())
    if where == "file":
        entry = manifest["weights"][name]
        arrays = {key: np.array(value) for key, value in load((served / entry["file"]).read_bytes()).items()}
        spoilt = [key for key, value in arrays.items() if value.dtype.kind == "f"][-1]
        arrays[spoilt].reshape(-1)[0] = np.nan
        (made / entry["file"]).unlink()
        (made / entry["file"]).write_bytes(save(arrays))
        entry["sha256"] = hashlib.sha256((made / entry["file"]).read_bytes()).hexdigest()
    else:
        recipe = assessor().recipe.name
        manifest["calibration"][recipe]["bias"][name]["intercept_months"] = float("nan")
    (made / "manifest.json").write_text(json.dumps(manifest))
    report = baa_core.load_assessor(weights_dir=made).assess(file, baa_core.Patient("female"))
    return {key: value for key, value in report.to_dict().items() if key in ("bone_age_months", "cautions")}


def loads_again(file: str) -> Answer:
    """Whether the page's system answers once the weights that were missing at its start are there."""
    import baa_core
    from baa_core.errors import WeightsMissing

    place = "baa_core.pipeline" if is_former() else "baa_core.workflows.assess"
    loading = either("page.service:Loading", "page.loading:Loading")
    name = assessor().recipe.name
    missing = mock.Mock(side_effect=WeightsMissing("The weights are not there."))
    said = []
    with mock.patch(f"{place}.load_assessor", missing):
        page = loading(name)
        try:
            page.assess(Path(file).read_bytes(), baa_core.Patient("female"))
        except WeightsMissing as error:
            said.append(str(error))
    report = page.assess(Path(file).read_bytes(), baa_core.Patient("female"))
    return {"first": said, "bone_age_months": report.prediction.bone_age_months}


def synthetic_input(bright: Any, hand: Any) -> Any:
    """A prepared picture of these greys."""
    import numpy as np

    made = either("baa_core.preprocessing.prepare:ModelInput", "baa_core.preprocessing:ModelInput")
    return made(bright[None, None], hand, np.array([[1.0, 0, 0], [0, 1.0, 0]]), hand.shape)


def region_sign() -> Answer:
    """Months of a bright region that makes a network answer older."""
    import numpy as np

    measure = either("baa_core.explanation.region_effects:months_by_region", "baa_core.explain:months_by_region")
    side = 64
    rows, columns = np.mgrid[:side, :side]
    hand = (np.abs(rows - 32) < 28) & (np.abs(columns - 32) < 24)
    region = (np.abs(rows - 40) < 5) & (np.abs(columns - 32) < 5)
    picture = (0.2 * hand + 0.6 * region).astype(np.float32)
    effects = measure(
        {"a": lambda pictures: 10 * pictures.mean(dim=(1, 2, 3))}, {"a": synthetic_input(picture, hand)}, {"r": region}
    )
    effect = effects["r"]
    return {"months": getattr(effect, "contribution_months", None) or effect.months}


def upside_down() -> Answer:
    """Whether the change "upside down" is a turn by 180 degrees, or a mirror image."""
    import numpy as np

    kind = either("baa_core.types:Radiograph")
    mask = either("baa_core.types:HandMask")
    changes = either("baa_core.explanation.robustness:TRANSFORMS", "baa_core.explain.drift:TRANSFORMS")
    pixels = np.random.default_rng(0).random((40, 30), np.float32)
    made = changes["upside down"](kind(pixels.copy()), mask(np.ones((40, 30), bool), 1.0, 0.0, False)).pixels
    return {
        "turned": bool(np.array_equal(made, pixels[::-1, ::-1])),
        "mirrored": bool(np.array_equal(made, pixels[::-1])),
    }


def chance_regions(hands: int) -> Answer:
    """On how many of so many hands a region stands out where every piece of hand does something by chance."""
    import numpy as np

    module = either("baa_core.explanation.region_effects", "baa_core.explain.regions")
    regions, pieces = 6, 8
    masks = []
    for number in range(regions * (pieces + 1)):
        mask = np.zeros((256, 256), bool)
        row, column = divmod(number, 8)
        mask[28 * row + 4 : 28 * row + 16, 30 * column + 4 : 30 * column + 16] = True
        masks.append(mask)
    own = {str(number): masks[number] for number in range(regions)}
    elsewhere = {str(number): masks[regions + pieces * number :][:pieces] for number in range(regions)}
    random, found = np.random.default_rng(18), 0
    level = module.chance_level(own, elsewhere) if hasattr(module, "chance_level") else None
    for _ in range(hands):
        months = random.normal(size=(regions, pieces + 1))
        if level is not None:
            effects = module.beside_chance(
                {name: months[int(name), 0] for name in own}, {name: list(months[int(name), 1:]) for name in own}, level
            )
            found += any(effect.stands_out for effect in effects.values())
            continue
        for name in own:
            others = list(zip(elsewhere[name], (float(value) for value in months[int(name), 1:]), strict=True))
            effect = module.RegionEffect(float(months[int(name), 0]), *module._null(others, own[name]))
            if effect.stands_out:
                found += 1
                break
    return {"share": found / hands}


def robustness(file: str, at: str) -> Answer:
    """The changed radiographs' estimates where a check refuses one of three: "pose" or "points"."""
    import baa_core

    whole, patient, calls = assessor(), baa_core.Patient("female"), []
    kind = type(whole)
    if at == "pose":
        method = "check_view" if is_former() else "check_pose"
        error = either("baa_core.errors:UnsupportedPose", "baa_core.errors:UnusualPicture")("Not from the front.")
    else:
        method, error = "points", either("baa_core.errors:LandmarksNotFound")("Joints cannot be placed.")
    original = next(vars(base)[method] for base in kind.__mro__ if method in vars(base))

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        calls.append(method)
        if len(calls) == 3:  # the first is the radiograph's own
            raise error
        return original(self, *given, **named)

    owner = next(base for base in kind.__mro__ if method in vars(base))
    with mock.patch.object(owner, method, counted), few_changes(3):
        if is_former():
            module = importlib.import_module("baa_core.inquiry")
            film = module.film_of(whole, *whole.look(file), patient)
            drift = module._drift(film)
        else:
            module = importlib.import_module("baa_core.workflows.explain")
            context = module.context_of(whole, whole.find(file), patient)
            drift = module._measure_robustness(context, threading.Event()).by_change()
    return {"asked": len(calls), "refused": [name for name, months in drift.items() if months is None]}


def system_card(file: str, recipe: str) -> Answer:
    """The words of a system's card in a comparison."""
    import baa_core

    compare = either("baa_core.workflows.compare:compare", "baa_core.comparison:compare")
    words = importlib.import_module("page.compare_text")
    (compared,) = compare(Path(file).read_bytes(), baa_core.Patient("female"), (recipe,), name="hand.png")
    seen = SimpleNamespace(title="input", address="")
    return {"card": words.system_card(compared, "", seen), "dots": hasattr(chart_module(), "systems_figure")}


def chart_module() -> Any:
    """Where figures are drawn."""
    return either("baa_core.reporting.charts", "baa_core.figures")


def entered_age(years: str, months: str) -> Answer:
    """What the page makes of an age that was typed."""
    import baa_core

    age = either("page.entries:entered_age_months", "page.text:entered_age_months")(years, months)
    return {"age_months": str(baa_core.Patient(None, age).chronological_age_months)}


def sex_sentence(probability_male: float) -> Answer:
    """What is said beside an entry of male at this probability."""
    check = {}
    if not is_former():
        judge = either("baa_core.estimation.calibration:check_sex")
        check = {"sex_check": judge("male", probability_male, 120.0, assessor().calibration)}
    report = SimpleNamespace(
        sex_entered="male",
        sex_predicted="male" if probability_male >= 0.5 else "female",
        sex_probability_male=probability_male,
        cautions=(),
        **check,
    )
    return {"said": either("page.assess_text:sex_sentence", "page.text:sex_sentence")(report)}


def own_fault(file: str, kind: str) -> Answer:
    """What a file is said to be when code of this project fails, or memory is lacking, while it is read."""
    from PIL import Image

    content = Path(file).read_bytes()
    decode = either("baa_core.io.decode:decode_radiograph", "baa_core.io:read_radiograph")
    if kind == "bug":
        module = "baa_core.io.picture" if is_former() else "baa_core.io.raster"
        failing = mock.patch(f"{module}._samples", side_effect=TypeError("a bug of our own"))
    else:
        failing = mock.patch.object(Image.Image, "load", side_effect=MemoryError())
    with (
        failing,
        mock.patch("PIL.PngImagePlugin.PngImageFile.load", side_effect=MemoryError())
        if kind != "bug"
        else (contextlib.nullcontext()),
    ):
        decode(content, "hand.png")
    return {"read": True}


def told_bug(file: str) -> Answer:
    """What the command line writes to standard error about a bug."""
    import logging

    command_line = importlib.import_module("baa_core.__main__")
    logged, out, err = io.StringIO(), io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    broken = mock.Mock(side_effect=ZeroDivisionError("a bug of our own"))
    with (
        mock.patch.object(command_line, "load_assessor", broken),
        contextlib.redirect_stderr(err),
        contextlib.redirect_stdout(out),
    ):
        command_line.main(["assess", file, "--sex", "female", "--json"])
    logging.getLogger().removeHandler(handler)
    return {"log": logged.getvalue() + err.getvalue()}


def unchecked_view(file: str) -> Answer:
    """Cautions of a system without a network that can tell whether a hand is seen from the front."""
    import baa_core

    whole = assessor()
    if is_former():
        left = tuple(member for member in whole.recipe.sex if member.architecture.heads != "bones")
        less = replace(whole, recipe=replace(whole.recipe, sex=left))
    else:
        less = assessor("li2021")
        less = replace(less, recipe=replace(less.recipe, landmarks=None))
    report = less.assess(file, baa_core.Patient("female"))
    return {"bone_age_months": report.prediction.bone_age_months, "cautions": [c.code for c in report.cautions]}


def process_wide(file: str) -> Answer:
    """What reading, a heatmap and a clustering in a thread leave changed for the whole process."""
    import warnings

    import numpy as np
    import torch

    read_radiograph = either("baa_core.io.decode:decode_radiograph", "baa_core.io:read_radiograph")
    captum = either("baa_core.explanation.lazy_captum", "baa_core.explain.captum_door")
    cluster = either("baa_core.preprocessing.clustering:cluster_hand", "baa_core.clustering:cluster_hand")
    imported = getattr(captum, "_imported", captum.captum_attr).__wrapped__
    pixels = np.ascontiguousarray(read_radiograph(Path(file).read_bytes(), "hand.png").pixels)
    filters, variables = [], []
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    original, put = warnings.catch_warnings, os.environ.__class__.__setitem__

    def caught(*given: Any, **named: Any) -> Any:
        own = "baa_core" in sys._getframe(1).f_code.co_filename
        filters.extend(["catch_warnings"] if own else [])
        return original(*given, **named)

    def set_variable(self: Any, key: str, value: str) -> None:
        own = "baa_core" in sys._getframe(1).f_code.co_filename
        variables.extend([key] if own else [])
        put(self, key, value)

    with (
        mock.patch.object(warnings, "catch_warnings", caught),
        mock.patch.object(os.environ.__class__, "__setitem__", set_variable),
    ):
        for work in (
            lambda: read_radiograph(Path(file).read_bytes(), "hand.png"),
            imported,
            lambda: cluster(pixels),
        ):
            in_thread(work)
    cores = in_thread(torch.get_num_threads)
    torch.set_num_threads(before)
    return {"filters": len(filters), "variables": variables, "cores": cores}


def in_thread(action: Callable[[], Any]) -> Any:
    """What a function returns in a thread begun now."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    thread.join()
    return found[0] if found else None


def in_inference_mode(file: str) -> Answer:
    """A heatmap asked for inside `torch.inference_mode()`, by a system loaded there."""
    import torch

    import baa_core

    with torch.inference_mode():
        report = baa_core.load_assessor().assess(file, baa_core.Patient("female"), explain=True)
    return {"inside_hand_share": report.explanation.inside_hand_share}


def table(file: str) -> Answer:
    """The columns and rows of a table."""
    read_table = either("baa_core.evaluation.tables:read_table", "baa_core.tables:read_table")
    found = read_table(Path(file), ("file", "sex"))
    return {"columns": list(found.columns), "rows": len(found.rows), "first": dict(found.rows[0])}


def recipe_notes(recipe: str) -> Answer:
    """What a recipe says of itself."""
    return {"notes": list(either("baa_core.recipes:RECIPES")[recipe].notes)}


def bias_of_chance() -> Answer:
    """Whether a calibration corrects months that err by chance alone."""
    import numpy as np

    module = either("train.calibration.calibrate", "train.calibrate")
    recipe = assessor().recipe
    random = np.random.default_rng(3)
    true = random.uniform(30, 200, 400)
    said = {member.name: true + random.normal(0, 9, 400) for member in recipe.members}
    frame = module.pd.DataFrame({
        "true_months": true, **said, "kind": "sharp", "sex": np.where(np.arange(400) % 2, "male", "female"),
        "split": np.where(np.arange(400) < 300, "train", "val"), "rsna_id": np.arange(400), "probability_male": 0.5,
        **{module.DEVIATION.format(name): 8.0 for name in said},
    })  # fmt: skip
    lines = (
        module.choose_bias(recipe, frame)[0] if hasattr(module, "choose_bias") else module.fit_members(recipe, frame)
    )
    return {"lines": {name: [line.slope, line.intercept_months] for name, line in lines.items()}}


PROBES: Mapping[str, Callable[..., Answer]] = {
    each.__name__: each
    for each in (
        assess, read, hand, command, explanation, regions_passed, heatmap_by_weight, shared_hooks, broken_weights,
        loads_again, region_sign, upside_down, chance_regions, robustness, system_card, entered_age, sex_sentence,
        own_fault, told_bug, unchecked_view, process_wide, in_inference_mode, table, recipe_notes, bias_of_chance,
    )
}  # fmt: skip


def main() -> None:
    """Answer until the input ends."""
    said, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = PROBES[request.pop("probe")](**request)
        except Exception as error:  # noqa: BLE001 - this is the answer
            answer = said_by(error)
            if not answer["foreseen"]:
                traceback.print_exc()
        print(json.dumps(answer), file=said, flush=True)


if __name__ == "__main__":
    main()
