"""Locate, verify and load the networks; the manifest that says which file is which.

`weights/manifest.json` holds what was measured, not designed:

    {"weights": {"<member>": {
         "file": "<member>.safetensors",  a plain file name, beside the manifest
         "sha256": "<64 hex digits>",     of the whole file; checked in full before anything is loaded
         "recipe": "deeplasia",           the recipe whose `Member` gives the network's shape
         "trained_on": "<words>", "minutes": 55, "device": "<words>", "licence": "<words>",
         "measured": {...}}},             errors on held-out data, free form
     "calibration": {"<recipe>": {...}}}  read by `calibration.Calibration.from_dict`

Files are safetensors in half precision, large ones in eight bits (`Member.eight_bit`): no pickle, half the download or
a quarter. They run in float32.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as dump_safetensors
from torch import Tensor, nn

from ..errors import WeightsCorrupt, WeightsMissing
from ..recipes.schema import Member
from .build import build

# Absolute, for the page leaves the folder it was started in.
DEFAULT_FOLDER = Path(os.environ.get("BAA_WEIGHTS") or Path(__file__).resolve().parents[2] / "weights").absolute()
MANIFEST_FILE = "manifest.json"
SUFFIX = ".safetensors"
LANDMARKS_NAME = "landmarks"  # the member whose file networks of bones and joints share
SCALE = ".scale"  # beside the name of an eight-bit tensor
EIGHT_BIT_FROM = 4096  # values; in a smaller tensor there is nothing to gain
SMALLEST_SCALE = 1e-12  # of a row of zeros
FILE_ATTRIBUTE = "weights_file"  # of a loaded network: the name of its file, for messages


@dataclass(frozen=True)
class WeightsEntry:
    """One file of the manifest.

    Attributes:
        file: a plain file name ending in .safetensors.
        sha256: 64 hexadecimal digits of the whole file.
        recipe: whose member it is.
        trained_on: the images and the split, in words.
        minutes: how long the training ran.
        device: on what.
        licence: terms of the data and so of the weights.
        measured: errors on held-out data.

    Raises:
        WeightsCorrupt: a field has no possible value.
    """

    file: str
    sha256: str
    recipe: str
    trained_on: str
    minutes: float
    device: str
    licence: str
    measured: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or Path(self.file).name != self.file or not self.file.endswith(SUFFIX):
            raise _manifest_wrong(f"'{str(self.file)[:60]}' is no plain file name ending in {SUFFIX}")
        digits = self.sha256 if isinstance(self.sha256, str) else ""
        if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            raise _manifest_wrong(f"the sha256 of {self.file} is not 64 hexadecimal digits")


@dataclass(frozen=True)
class Manifest:
    """What is in a weights folder.

    Attributes:
        weights: member name to its file.
        calibration: recipe name to the plain values `calibration.Calibration` is made of.
    """

    weights: Mapping[str, WeightsEntry]
    calibration: Mapping[str, Mapping[str, Any]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """Validate plain values.

        Raises:
            WeightsCorrupt: a section or field is missing, or unknown, or of the wrong kind.
        """
        for section in ("weights", "calibration"):
            if not isinstance(values.get(section), dict):
                raise _manifest_wrong(f"it has no section '{section}'")
        entries = {}
        for member, fields in values["weights"].items():
            try:
                entries[member] = WeightsEntry(**fields)
            except TypeError as wrong:
                raise _manifest_wrong(f"the entry of '{member}' does not fit ({wrong})") from wrong
        return cls(entries, values["calibration"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        return {
            "weights": {member: asdict(entry) for member, entry in self.weights.items()},
            "calibration": {recipe: dict(values) for recipe, values in self.calibration.items()},
        }


def _manifest_wrong(what: str) -> WeightsCorrupt:
    """The error every fault of the manifest ends in."""
    return WeightsCorrupt(
        f"weights/{MANIFEST_FILE} cannot be used: {what}. Get the weights folder again as weights/README.md says."
    )


def read_manifest(folder: Path = DEFAULT_FOLDER) -> Manifest:
    """The manifest of a weights folder.

    Raises:
        WeightsMissing: there is none.
        WeightsCorrupt: it is not JSON, or not a manifest.
    """
    try:
        text = (folder / MANIFEST_FILE).read_text(encoding="utf-8")
    except UnicodeDecodeError as wrong:
        raise _manifest_wrong("it is not text in UTF-8") from wrong
    except OSError:  # not there; or the folder is a file, or may not be opened
        raise WeightsMissing(
            f"weights/{MANIFEST_FILE} is not there, so no network can be loaded. "
            "Get the weights folder as weights/README.md says, or name it with BAA_WEIGHTS."
        ) from None
    try:
        values = json.loads(text, parse_constant=_no_number)
    except ValueError as wrong:
        raise _manifest_wrong("it is not JSON") from wrong
    if not isinstance(values, dict):
        raise _manifest_wrong("it is not a JSON object")
    return Manifest.from_dict(values)


def _no_number(word: str) -> float:
    """NaN and Infinity, which JSON has no words for but Python reads."""
    raise _manifest_wrong(f"it holds {word} where a finite number is expected")


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write a manifest in one move, so that a reader never sees half of it."""
    text = json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(folder / MANIFEST_FILE, text.encode())


def replace_file(path: Path, content: bytes) -> None:
    """Write beside, then move into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)


def save_network(network: nn.Module, path: Path, eight_bit: bool = False) -> str:
    """Write a network's state in half precision (whole-number buffers as they are).

    Args:
        network: what is kept.
        path: where.
        eight_bit: keep large tensors as whole numbers from -127 to 127 and a scale for each row: half the file again.

    Returns:
        the sha256 of the file, for the manifest.

    Raises:
        ValueError: a value is not finite in half precision, so the file would be useless.
    """
    state = {}
    own = getattr(network, "LEARNED", "")  # the rest is in the file of the landmark network
    for name, tensor in network.state_dict().items():
        if not name.startswith(own):
            continue
        kept = tensor.detach().to("cpu", torch.float16 if tensor.is_floating_point() else tensor.dtype)
        if kept.is_floating_point() and not bool(kept.isfinite().all()):
            raise ValueError(f"'{name}' holds values that half precision cannot: the network was not saved")
        state[name] = kept.contiguous()
        if eight_bit and kept.is_floating_point() and kept.ndim > 1 and kept.numel() >= EIGHT_BIT_FROM:
            scale = (kept.float().flatten(1).abs().amax(dim=1) / 127).clamp(min=SMALLEST_SCALE)
            state[name] = (kept.float() / _by_row(scale, kept)).round().to(torch.int8).contiguous()
            state[name + SCALE] = scale
    content = dump_safetensors(state)
    replace_file(path, content)
    return hashlib.sha256(content).hexdigest()


def unpack(content: bytes) -> dict[str, Tensor]:
    """The tensors of a file that `save_network` wrote, by name: float32, whole numbers as they are.

    Raises:
        SafetensorError, KeyError: it is no such file.
    """
    state = parse_safetensors(content)
    for name in [name.removesuffix(SCALE) for name in state if name.endswith(SCALE)]:
        state[name] = state[name].float() * _by_row(state.pop(name + SCALE), state[name])
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _by_row(scale: Tensor, tensor: Tensor) -> Tensor:
    """(N,) as (N, 1, ...), to go with (N, ...)."""
    return scale.reshape(-1, *[1] * (tensor.ndim - 1))


def load_network(member: Member, folder: Path = DEFAULT_FOLDER, manifest: Manifest | None = None) -> nn.Module:
    """A member with its shipped weights: verified, float32, channels last, in evaluation mode.

    Args:
        member: its name finds the file, its architecture the shape.
        folder: where manifest and files lie.
        manifest: the folder's, if it was read already.

    Raises:
        WeightsMissing: the manifest does not list the member, or its file is not there.
        WeightsCorrupt: the file's sha256 or its contents are not what they should be.
    """
    manifest = manifest or read_manifest(folder)
    entry, content = read_verified(member.name, folder, manifest)
    network = build(member.architecture)
    if not getattr(network, "LEARNED", ""):
        return _fill(network, entry.file, content)
    return _fill(network, entry.file, content, read_verified(LANDMARKS_NAME, folder, manifest)[1])


def read_verified(name: str, folder: Path, manifest: Manifest | None = None) -> tuple[WeightsEntry, bytes]:
    """One file of the manifest, its bytes checked against the sha256.

    Args:
        name: under which the manifest lists it.
        folder: where manifest and files lie.
        manifest: the folder's, if it was read already.

    Raises:
        WeightsMissing: the manifest does not list it, or the file is not there.
        WeightsCorrupt: the file is not the one that the manifest names.
    """
    entry = (manifest or read_manifest(folder)).weights.get(name)
    if entry is None:
        raise WeightsMissing(
            f"weights/{MANIFEST_FILE} lists no weights for '{name}'. "
            f"Train them with 'python -m train {name}', or get the weights folder as weights/README.md says."
        )
    try:
        content = (folder / entry.file).read_bytes()
    except OSError:
        raise WeightsMissing(
            f"'{name}' needs weights/{entry.file}, which is not there. Get it as weights/README.md says; "
            f"its sha256 must be {entry.sha256[:12]}…"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != entry.sha256:
        raise WeightsCorrupt(
            f"weights/{entry.file} is not the file the manifest names: its sha256 is {found[:12]}…, "
            f"{entry.sha256[:12]}… was expected. Delete it and get it again as weights/README.md says."
        )
    return entry, content


def _fill(network: nn.Module, file: str, *contents: bytes) -> nn.Module:
    """Load a state strictly: nothing missing, nothing left over, every number finite."""
    try:
        state = {name: tensor for content in contents for name, tensor in unpack(content).items()}
        network.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError) as wrong:
        raise WeightsCorrupt(
            f"weights/{file} does not hold the network that the recipe describes. "
            "Weights and software must be of the same version: get both again as weights/README.md says."
        ) from wrong
    for name, tensor in state.items():
        negative = name.endswith("running_var") and bool((tensor < 0).any())
        if negative or not bool(tensor.isfinite().all()):
            raise WeightsCorrupt(
                f"weights/{file} is damaged: '{name}' holds values that no training can give. "
                "Delete it and get it again as weights/README.md says."
            )
    setattr(network, FILE_ATTRIBUTE, file)
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def check_finite(network: object, *outputs: Tensor) -> None:
    """Raise if a network computed anything but finite numbers.

    Args:
        network: as `load_network` gave it, or a method of one.
        outputs: of any shape.

    Raises:
        WeightsCorrupt: a value is not finite; the message names the network's file.
    """
    if all(bool(output.isfinite().all()) for output in outputs):
        return
    file = getattr(getattr(network, "__self__", network), FILE_ATTRIBUTE, "")
    raise WeightsCorrupt(
        f"{f'The network of weights/{file}' if file else 'A network'} computed values that are no finite numbers, so "
        "no estimate is made. The file is damaged or of another version: get it again as weights/README.md says."
    )
