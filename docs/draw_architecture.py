"""Draw the diagram of docs/architecture.md from the real imports: `python docs/draw_architecture.py` rewrites it.

One box is a package (or a single module); an arrow means "imports". Arrows to `errors`, `types`, `version` and
`hand_anatomy`, which nearly everything imports, are left out.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "architecture.md"
BEGIN, END = "<!-- diagram:start -->", "<!-- diagram:end -->"
EVERYWHERE = {"errors", "faults", "types", "version", "hand_anatomy"}


def box_of(module: str) -> str:
    """The box a dotted module name belongs to: baa_core.io.dicom to io, page.entries to page."""
    parts = module.split(".")
    return parts[1] if parts[0] == "baa_core" and len(parts) > 1 else parts[0]


def arrows() -> list[tuple[str, str]]:
    """Every (importing box, imported box) of baa_core, page, train, benchmarks and app.py."""
    found = set()
    for path in [
        *REPOSITORY.glob("app.py"),
        *(p for top in ("baa_core", "page", "train", "benchmarks") for p in (REPOSITORY / top).rglob("*.py")),
    ]:
        parts = list(path.relative_to(REPOSITORY).with_suffix("").parts)
        package = parts[:-1]
        own = ".".join(package if parts[-1] == "__init__" else parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                names = [f"{module}.{alias.name}" if module == "baa_core" else module for alias in node.names]
            else:
                continue
            found |= {
                (box_of(own), box_of(name))
                for name in names
                if name.split(".")[0] in ("baa_core", "page", "train", "benchmarks", "app")
            }
    return sorted((a, b) for a, b in found if a != b and b not in EVERYWHERE and "baa_core" not in (a, b))


def diagram() -> str:
    """The Mermaid source of the diagram."""
    lines = "\n".join(f"    {a.strip('_')} --> {b.strip('_')}" for a, b in arrows())
    return f"{BEGIN}\n```mermaid\nflowchart TD\n{lines}\n```\n{END}"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: diagram(), text, flags=re.DOTALL), encoding="utf-8")
