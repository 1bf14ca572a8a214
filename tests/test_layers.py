"""Imports go down only, and each heavy library has one door (docs/architecture.md). Read by `ast`, not by running."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("baa_core", "train", "page", "benchmarks")

# From the ground up: a package of baa_core imports packages on lines above its own only.
ORDER = (
    ("errors", "faults", "version"),
    ("types", "hand_anatomy"),
    ("io", "preprocessing", "phantom"),
    ("recipes",),
    ("networks",),
    ("hand", "estimation", "explanation"),
    ("reference", "evaluation", "reporting"),
    ("export",),
    ("workflows",),
    ("__main__",),
)
LEVEL = {package: number for number, packages in enumerate(ORDER) for package in packages}

# library: the only places that may import it, as module paths; a trailing dot means everything below.
DOORS: dict[str, tuple[str, ...]] = {
    "gradio": ("app", "page."),
    "plotly": ("baa_core.reporting.charts", "baa_core.reporting.timeline"),
    "openvino": ("baa_core.networks.engine",),
    "captum": ("baa_core.explanation.lazy_captum",),
    "timm": ("baa_core.networks.backbones", "train.initial_weights"),
    "torchvision": ("baa_core.networks.torchvision_compat",),
    "pydicom": ("baa_core.io", "baa_core.io.", "baa_core.export.dicom"),  # export: what highdicom takes and gives
    "highdicom": ("baa_core.export.dicom",),
    "reportlab": ("baa_core.export.pdf", "baa_core.export.worksheet"),
    "albumentations": ("train.data.augmentation",),
    "lightning": ("train.",),
    "pandas": ("train.", "baa_core.evaluation."),
    "ray": ("baa_core.evaluation.ray_engine",),
    "pyarrow": ("baa_core.evaluation.tables", "baa_core.evaluation.results", "baa_core.evaluation.ray_engine"),
    "fsspec": ("baa_core.evaluation.images",),
    "zarr": ("baa_core.evaluation.heatmaps",),
    "scipy": ("train.", "baa_core.estimation."),
    "threadpoolctl": ("baa_core.preprocessing.clustering",),
}


def module_name(path: Path) -> str:
    """baa_core/io/dicom.py to baa_core.io.dicom; a package is named like its folder."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = [p for folder in FOLDERS for p in sorted((REPOSITORY / folder).rglob("*.py"))] + [REPOSITORY / "app.py"]
MODULES = {module_name(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Absolute dotted names of all that a file imports, wherever in the file."""
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            found |= {".".join([*base, name.name]) for name in node.names} | {".".join(base)}
    return frozenset(found)


def modules_imported(path: Path) -> set[str]:
    """The project's own modules that a file imports."""
    return {name for name in imports(path) if name in MODULES} - {module_name(path)}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("baa_core.")])
def test_imports_go_down_only(name: str) -> None:
    own = name.split(".")[1]
    assert own in LEVEL, f"baa_core/{own} has no place in ORDER yet: say what it may import"
    others = {other.split(".")[1] for other in modules_imported(MODULES[name]) if other.startswith("baa_core.")} - {own}
    wrong = {other for other in others if LEVEL[other] >= LEVEL[own]}
    assert not wrong, f"{name} may not import {sorted(wrong)}"


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: modules_imported(path) for name, path in MODULES.items() if name != "baa_core"}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("name", MODULES)
def test_each_library_has_one_door(name: str) -> None:
    for library in {imported.split(".")[0] for imported in imports(MODULES[name])} & set(DOORS):
        allowed = any(name == door or (door.endswith(".") and f"{name}.".startswith(door)) for door in DOORS[library])
        assert allowed, f"{name} imports {library}, whose door is {DOORS[library]}"


@pytest.mark.parametrize("name", MODULES)
def test_page_and_training_never_meet(name: str) -> None:
    roots = {imported.split(".")[0] for imported in imports(MODULES[name])}
    forbidden = {
        "app": {"train", "torch", "numpy", "cv2"},
        "page": {"train", "torch", "numpy", "cv2"},
        "train": {"app", "page", "gradio"},
        "baa_core": {"app", "page", "train"},
        "benchmarks": {"app", "page"},
    }
    assert not roots & forbidden[name.split(".")[0]]


@pytest.mark.parametrize("name", MODULES)
def test_nothing_asks_which_recipe_runs(name: str) -> None:
    """No `if recipe == ...`: what differs between systems is data in the recipe."""
    for node in ast.walk(tree_of(MODULES[name])):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        asks = any("recipe" in ast.unparse(side).lower() for side in sides)
        assert not (asks and any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)), (
            f"{name}:{node.lineno} compares a recipe with a word"
        )


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "baa_core" / "recipes").glob("[a-z]*.py")), ids=lambda path: path.stem
)
def test_a_recipe_is_data(path: Path) -> None:
    """A recipe file holds values, and functions that only return one; no branch, loop or class."""
    if path.stem in ("schema", "registry"):
        return
    tree = tree_of(path)
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef)
    assert all(isinstance(node, allowed) for node in tree.body)
    deciding = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.With, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, deciding)]


def test_errors_are_known_without_loading_torch() -> None:
    asked = "import sys, baa_core.errors; raise SystemExit(bool({'torch', 'cv2', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], cwd=REPOSITORY, check=False).returncode == 0


def test_the_package_has_few_modules_beside_its_packages() -> None:
    assert len(list((REPOSITORY / "baa_core").glob("*.py"))) <= 8
