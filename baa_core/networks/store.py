"""A weights folder in memory: each network verified and loaded once, however many recipes use it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar, cast

import torch
from torch import nn

from ..recipes.schema import Member
from ..version import __version__
from .backbones import fold_norms
from .engine import engine_version, put_on_engine
from .weights import DEFAULT_FOLDER, Manifest, load_network, read_manifest

SHA_DIGITS = 12  # of a weights file, in `NetworkStore.versions`

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, eq=False)
class NetworkStore:
    """The networks of a weights folder, loaded when first needed. Threads and assessors may share it.

    Attributes:
        manifest: which files there are and what was measured.
        folder: where they lie.
        engine: whether a network is put on the engine when it is loaded.
    """

    manifest: Manifest
    folder: Path = DEFAULT_FOLDER
    engine: bool = True
    _loaded: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: RLock = field(default_factory=RLock, repr=False)

    @classmethod
    def of_folder(cls, folder: Path | None = None) -> NetworkStore:
        """The store of a weights folder; `weights.DEFAULT_FOLDER` if left out. No network is loaded yet.

        Raises:
            WeightsMissing, WeightsCorrupt: see `weights.read_manifest`.
        """
        folder = Path(folder) if folder is not None else DEFAULT_FOLDER
        return cls(read_manifest(folder), folder)

    @property
    def loaded(self) -> frozenset[str]:
        """The names of all that has been loaded."""
        return frozenset(self._loaded)

    def network(self, member: Member) -> nn.Module:
        """The member's network with its verified weights: batch norms folded, frozen, channels last.

        Raises:
            WeightsMissing, WeightsCorrupt: see `weights.load_network`. A failure is not kept: files put there
                meanwhile are found.
        """
        return self.once(member.name, partial(_ready, member, self.engine))

    @property
    def identity(self) -> Hashable:
        """The same for stores that share what they have loaded, as `in_pytorch` does."""
        return self._lock

    def in_pytorch(self) -> NetworkStore:
        """The same store and all it has loaded; what it loads from here on is computed by PyTorch.

        For networks of which little is asked: making an engine's graph takes seconds and up to 500 MB a network.
        """
        return replace(self, engine=False)

    def once(self, name: str, load: Callable[[Path, Manifest], Loaded]) -> Loaded:
        """What `load` makes of folder and manifest when this name is asked for first, kept from then on.

        Args:
            name: of a network, or of what else lies in the folder.
            load: called with one name at a time. What it raises is raised here, and not kept.
        """
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load(self.folder, self.manifest)
            return cast(Loaded, self._loaded[name])

    def replaced(self, name: str, network: nn.Module) -> NetworkStore:
        """A store of the same folder with this network in place of the folder's, for trying one out."""
        return NetworkStore(self.manifest, self.folder, self.engine, {name: network})

    def versions(self, members: Iterable[Member]) -> dict[str, str]:
        """Software, and the first `SHA_DIGITS` digits of the sha256 of each member's file."""
        weights = {
            f"weights/{member.name}": self.manifest.weights[member.name].sha256[:SHA_DIGITS]
            for member in members
            if member.name in self.manifest.weights
        }
        return {
            "baa_core": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            **engine_version(),
            **weights,
        }


def _ready(member: Member, engine: bool, folder: Path, manifest: Manifest) -> nn.Module:
    """A network as it is served, on the engine or not; also when asked for within `torch.inference_mode`."""
    with torch.inference_mode(False):
        folded = fold_norms(load_network(member, folder, manifest)).requires_grad_(False)
        served: nn.Module = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return put_on_engine(served) if engine else served
