"""Let torchvision import beside a CPU build of torch. Import before timm, torchmetrics or lightning.

Where the compiled part of torchvision does not fit the installed torch, `import torchvision`
dies with "operator torchvision::nms does not exist" and takes timm down with it. None of this
project's networks uses those operators, so declaring them is enough. A no-op where
torchvision is healthy.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None


def _compiled_part_loads(folder: Path) -> bool:
    try:
        for shared_object in folder.glob("_C*"):
            if shared_object.suffix in {".so", ".pyd", ".dylib"}:
                torch.ops.load_library(str(shared_object))
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


def declare_missing_operators() -> None:
    """Declare torchvision's operators if its compiled part cannot load. Safe to call twice."""
    global _library
    found = importlib.util.find_spec("torchvision")
    if _library is not None or found is None or found.origin is None:
        return
    if _compiled_part_loads(Path(found.origin).parent):
        return
    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)


declare_missing_operators()
