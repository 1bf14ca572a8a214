"""Imports go down only, and each heavy library has one door (STYLE.md, section 3). Read by `ast`, not by running."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("baa_core", "train", "page")

# From the ground up. A module may import from lower floors only, so stages never import one another.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "faults", "_torchvision"),
    ("types",),
    ("feature_clustering", "steps", "tables", "framing", "anatomy", "wording"),
    ("clustering", "cut", "outline", "panels", "gridlines"),
    ("recipe", "cases", "steps_published"),
    ("backbones", "interval"),
    ("published",),
    ("joints",),
    ("bones", "joint_patches"),
    ("models", "recipes"),
    ("preprocessing", "weights"),
    ("io", "masking", "landmarks", "quality", "outlier", "ensemble", "calibration", "cautions", "explain", "figures",
     "phantom", "evaluation", "reference"),
    ("sight", "panel_figures", "summary", "export"),
    ("pipeline",),
    ("batch", "inquiry", "confirmed"),
    ("comparison",),
    ("__main__",),
)  # fmt: skip
FLOOR = {module: number for number, modules in enumerate(FLOORS) for module in modules}

# library: the only places that may import it, as module paths; a trailing dot means everything below.
DOORS: dict[str, tuple[str, ...]] = {
    "gradio": ("app", "page.layout", "page.explain_tab", "page.compare_tab", "page.keeping"),
    "plotly": ("baa_core.figures", "baa_core.panel_figures"),
    "captum": ("baa_core.explain.captum_door",),
    "threadpoolctl": ("baa_core.feature_clustering",),
    "timm": ("baa_core.backbones", "train.start"),  # start: ImageNet weights to begin a training from
    "torchvision": ("baa_core._torchvision",),
    "pydicom": ("baa_core.io", "baa_core.io.", "baa_core.export.dicom"),  # export: what highdicom takes and gives
    "highdicom": ("baa_core.export.dicom",),
    "reportlab": ("baa_core.export.pdf",),
    "albumentations": ("train.augment",),
    "lightning": ("train.",),
    "scipy": ("train.widths",),
    "pandas": ("train.", "baa_core.evaluation"),
    "openvino": (),
    "sklearn": (),
}


def python_files() -> list[Path]:
    """Everything that runs: the package, training, the page."""
    return [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py"))] + [
        REPOSITORY / "app.py"
    ]


def module_name(path: Path) -> str:
    """baa_core/io/dicom.py to baa_core.io.dicom; a package is named like its folder."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Absolute dotted names of all that a file imports, wherever in the file."""
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            found |= {".".join([*base, name.name]) for name in node.names} | {".".join(base)}
    return found


def core_parts(names: set[str]) -> set[str]:
    """The modules right under baa_core among imported names."""
    return {name.split(".")[1] for name in names if name.startswith("baa_core.")} & set(FLOOR)


FILES = [path for path in python_files() if path.exists()]
CORE = [path for path in FILES if path.is_relative_to(REPOSITORY / "baa_core")]


@pytest.mark.parametrize("path", CORE, ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    parts = module_name(path).split(".")
    if len(parts) == 1:
        return  # baa_core/__init__.py names the public things, whatever their floor
    own = parts[1]
    assert own in FLOOR, f"baa_core/{own} stands on no floor yet: say in FLOORS what it may import"
    wrong = {name for name in core_parts(imports(path)) - {own} if FLOOR[name] >= FLOOR[own]}
    assert not wrong, f"{module_name(path)} may not import {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_each_library_has_one_door(path: Path) -> None:
    name = module_name(path)
    for library in {imported.split(".")[0] for imported in imports(path)} & set(DOORS):
        allowed = any(name == door or (door.endswith(".") and f"{name}.".startswith(door)) for door in DOORS[library])
        assert allowed, f"{name} imports {library}, whose door is {DOORS[library]}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_page_and_training_never_meet(path: Path) -> None:
    roots = {imported.split(".")[0] for imported in imports(path)}
    name = module_name(path)
    if name.split(".")[0] in ("app", "page"):
        assert not roots & {"train", "torch", "numpy", "cv2"}
    elif name.startswith("train"):
        assert not roots & {"app", "page", "gradio"}
    else:
        assert not roots & {"app", "page", "train"}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_nothing_asks_which_recipe_runs(path: Path) -> None:
    """No `if recipe == ...`: what differs between systems is data in the recipe."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        asks = any("recipe" in ast.unparse(side).lower() for side in sides)
        assert not (asks and any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)), (
            f"{module_name(path)}:{node.lineno} compares a recipe with a word"
        )


@pytest.mark.parametrize("path", sorted((REPOSITORY / "baa_core" / "recipes").glob("[a-z]*.py")), ids=module_name)
def test_a_recipe_is_data(path: Path) -> None:
    """A recipe file holds values, and functions that only return one; no branch, loop or class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef)
    assert all(isinstance(node, allowed) for node in tree.body)
    deciding = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.With, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, deciding)]
