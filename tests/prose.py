"""Every sentence and label of the sources that a visitor may read, as templates with numbered places.

    python -m tests.prose    # those that `baa_core/reporting/german.json` lacks, and entries that nothing says any more

Read from the sources without running them: Python by `ast`, the page's scripts by a small reader of strings. Markup is
taken apart as a browser does, into texts and attributes.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from baa_core.reporting.language import catalogue
from baa_core.reporting.timeline import timeline_figure

REPOSITORY = Path(__file__).resolve().parents[1]
TABLE = REPOSITORY / "baa_core/phantom/ossification.json"
PLACE = "\x00"
ATTRIBUTES = ("alt", "title", "aria-label", "placeholder", "data-foreign", "data-outdated")

# Modules whose words are for whoever runs a command, writes a program, or reads DICOM and FHIR codes; errors and
# cautions in them count all the same.
NOT_FOR_VISITORS = (
    "app.py", "baa_core/__main__.py", "baa_core/faults.py", "baa_core/version.py",
    "baa_core/estimation/calibration.py", "baa_core/estimation/conformal.py", "baa_core/evaluation/metrics.py",
    "baa_core/evaluation/changes.py", "baa_core/explanation/heatmap.py", "baa_core/export/dicom.py",
    "baa_core/export/fhir.py", "baa_core/hand/pose.py", "baa_core/io/", "baa_core/networks/",
    "baa_core/phantom/__init__.py", "baa_core/phantom/series.py", "baa_core/reporting/overlays.py",
    "baa_core/reporting/language.py", "__init__.py", "page/language.py",
)  # fmt: skip
# Calls whose arguments nobody reads on the page.
_UNSEEN_CALLS = {
    "add_argument", "ArgumentParser", "print", "compile", "getLogger", "warning", "exception", "info", "setFont",
    "fullmatch", "sub", "search", "TypeVar", "ParagraphStyle", "setAuthor",
}  # fmt: skip
_UNSEEN_KEYWORDS = {"js", "elem_id", "elem_classes", "textposition", "family", "concurrency_id", "concurrency_limit"}
_PROGRAM_ERRORS = {
    "ValueError", "TypeError", "AttributeError", "OSError", "FloatingPointError", "KeyError", "RuntimeError",
}  # fmt: skip
# Texts that look like words and are none, or that stay as they are: names, citations, what a script looks for.
_NO_WORDS = re.compile(
    r"^[#.\w\[\]='\"{}: ,>+-]*[#\[][^ ]*|^[A-Z][a-z]+[A-Z]\w*$|\.(png|pdf|gz|csv|js)$|^data:|^https?:|^baa-|^data-baa"
    r"|^bl-line|^bone-age-\{|^upload-|prefers-reduced|svg|px system|system-ui|^default-src|^utf-8|^\?lesson|baaLearn"
    r"|^weights/\{0\}$|^/\{0\}/|^\.overflow|:not\(|^url\(|type=\"linear\"|^path, circle|doi:10\.\d{4,5}/"
    r"|University of Pisa"
    r"|^[A-Za-z]* ?phalanx of the$|^(Prox|Mid)(\.|dle ph\.|\. ph\.)$|^(Proximal|Middle ph\.|Distal|Something)$"
    r"|^Helvetica|^input\[|^M\{|^translate|^rotate|^inset\(|px sans-serif|^metacarpal\{0\}$|^\(\) =>"
    r"|^\x01|^on whole thumbnails|^age and sex from the same features|^on the masks that the hand"  # training
)
# Templates whose instances have entries of their own, because German bends what stands in their places.
BENT = {
    "{0} hand{1}",
    "{0} row{1}", "{0} radiograph{1}", "{0} year{1}", "{0}{1} months", "the {0}", "the epiphysis of the {0}",
    "Epiphysis of the {0}{1}", "{0} epiphysis", "{0} month{1} too {2}", "({0}m to {1}m)", "{0}-months",
}  # fmt: skip
LONGEST_INSTANCE = 70  # characters of an entry that may be what a template becomes
# Entries for what is put together of several strings, and for Gradio's own labels.
COMPOSED = {
    "Brush Foundation table, Greulich and Pyle 1959, {0}", "- or -", "Textbox", "Empty value", "File upload",
    "More tabs", "Loading...", "processing | {0}", "Uploading {0} file...", "Uploading {0} files...",
    "Remove this file", "The estimate is {0} above the chronological age of {1}, which lies {2} the interval.",
    "The estimate is {0} below the chronological age of {1}, which lies {2} the interval.",
    "The estimate is equal to the chronological age of {0}, which lies {1} the interval.", "Drop File Here",
    "queue: {0} | {1}", "number input for {0}", "range slider for {0}", "Reset to default value",
    "{0} joint of the {1}", "steps", "{0}/{1} steps",
}  # fmt: skip


class _Markup(HTMLParser):
    """The texts and attributes of a piece of markup that people read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.unseen += tag in ("script", "style", "code")
        self.found += [value for name, value in attrs if name in ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        self.unseen -= tag in ("script", "style", "code")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.found.append(data)


def pieces(text: str) -> list[str]:
    """The texts of a string with markup, numbered; the string itself without any."""
    texts = [text]
    if re.search(r"</?[a-z]", text):
        parser = _Markup()
        parser.feed(text)
        parser.close()
        texts = parser.found
    return [piece for piece in map(_numbered, texts) if piece]


def _numbered(text: str) -> str:
    places = iter(range(100))
    return re.sub(PLACE, lambda _: f"{{{next(places)}}}", " ".join(text.split()))


def is_prose(text: str) -> bool:
    """True for words that people read; False for identifiers, paths, styles and the like."""
    bare = re.sub(r"\{\d+\}", " ", text)
    words = re.search(r"[A-Za-z]{2,}[,.:;)]?\s+\(?[A-Za-z]", bare) or re.search(r"\b[A-Z][a-z]+", bare)
    return bool(words or (bare != text and re.search(r"\b[a-z]{3,}\b", bare))) and not _NO_WORDS.search(text)


def _template(node: ast.AST) -> str | None:
    """A string, f-string or sum of some as text with `PLACE` for what is put in; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else PLACE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _template(node.left), _template(node.right)
        if left is not None or right is not None:
            return (PLACE if left is None else left) + (PLACE if right is None else right)
    return None


def _strings(node: ast.AST, skipped: set[int]) -> Iterator[tuple[ast.AST, str]]:
    """Every string below a node, sums of strings as one; and those within the places of f-strings."""
    if id(node) in skipped:
        return
    if (text := _template(node)) is None:
        for child in ast.iter_child_nodes(node):
            yield from _strings(child, skipped)
        return
    yield node, text
    for part in ast.walk(node):
        if isinstance(part, ast.FormattedValue):
            yield from _strings(part.value, skipped)
        elif isinstance(part, ast.BinOp):
            for side in (part.left, part.right):
                if _template(side) is None:
                    yield from _strings(side, skipped)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _ids(node: ast.AST) -> set[int]:
    return {id(part) for part in ast.walk(node)}


def _unseen(tree: ast.AST) -> set[int]:
    """The nodes that hold what nobody reads on the page: docstrings, keys, patterns, errors of the program."""
    found: set[int] = set()
    for node in ast.walk(tree):
        unseen: list[ast.AST | None] = []
        match node:
            case ast.Expr(value=ast.Constant()):
                unseen = [node.value]
            case ast.Subscript(ctx=ast.Load()):
                unseen = [node.slice]
            case ast.FormattedValue():
                unseen = [node.format_spec]
            case ast.Compare():
                unseen = [node]
            case ast.Assign() if any(getattr(to, "id", "") == "__all__" for to in node.targets):
                unseen = [node]
            case ast.Raise(exc=ast.Call()) if _name(node.exc) in _PROGRAM_ERRORS:
                unseen = [node]
            case ast.Call():
                unseen = [keyword.value for keyword in node.keywords if keyword.arg in _UNSEEN_KEYWORDS]
                unseen += [node] if _name(node) in _UNSEEN_CALLS else []
        for part in filter(None, unseen):
            found |= _ids(part)
    return found


@cache
def _errors() -> set[str]:
    tree = ast.parse((REPOSITORY / "baa_core/errors.py").read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} | {"Caution", "_damaged", "partial"}


def _python() -> list[Path]:
    return sorted([*REPOSITORY.glob("page/*.py"), REPOSITORY / "app.py", *REPOSITORY.glob("baa_core/**/*.py")])


def _said_by_python(path: Path) -> Iterator[str]:
    where = path.relative_to(REPOSITORY).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = any(where.startswith(name) or where.endswith("/" + name) for name in NOT_FOR_VISITORS)
    told: set[int] = set()
    for node in ast.walk(tree) if hidden else ():
        if isinstance(node, ast.Call) and _name(node) in {*_errors(), "Tab"}:
            told |= _ids(node)
    skipped = _unseen(tree)
    for node, text in _strings(tree, skipped):
        if not hidden or id(node) in told:
            yield from filter(is_prose, pieces(text))


def script_strings(source: str) -> list[str]:
    """Every string and template of a JavaScript source, `PLACE` for what is put in."""
    found: list[str] = []

    def read(i: int) -> int:
        last = ""  # sign before, to tell a regular expression from a division
        while i < len(source):
            sign = source[i]
            if source.startswith("//", i) and last != ":":
                i = (source + "\n").index("\n", i)
            elif source.startswith("/*", i):
                i = source.index("*/", i) + 2
            elif sign in "\"'":
                end = i + 1
                while source[end] != sign:
                    end += 2 if source[end] == "\\" else 1
                found.append(source[i + 1 : end])
                i, last = end + 1, "x"
            elif sign == "`":
                text, i = "", i + 1
                while source[i] != "`":
                    if source.startswith("${", i):
                        i, text = read(i + 2), text + PLACE
                    else:
                        skip = source[i] == "\\"
                        text, i = text + source[i + skip], i + 1 + skip
                found.append(text)
                i, last = i + 1, "x"
            elif sign == "/" and (last in "(,=:[!&|?{};>" or not last):
                inside, i = False, i + 1
                while source[i] != "/" or inside:
                    inside = source[i] == "[" or (inside and source[i] != "]")
                    i += 2 if source[i] == "\\" else 1
                i, last = i + 1, "x"
            elif sign == "{":
                i, last = read(i + 1), "}"
            elif sign == "}":
                return i + 1
            else:
                last = last if sign.isspace() else sign
                i += 1
        return i

    read(0)
    return found


def _said_by_scripts() -> Iterator[str]:
    for path in sorted(REPOSITORY.glob("page/*.js")):
        if path.name != "language.js":
            for text in script_strings(path.read_text(encoding="utf-8")):
                yield from filter(is_prose, pieces(text))


def _data_strings(names: frozenset[str] | None = None, value: object = None, name: str = "") -> Iterator[str]:
    """The strings of the ossification table under some names; under all and the names too if none are given."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [key] if names is None else []
            yield from _data_strings(names, item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _data_strings(names, item, name)
    elif value is None and not name:
        yield from _data_strings(names, json.loads(TABLE.read_text(encoding="utf-8")))
    elif isinstance(value, str) and (names is None or name in names):
        yield value


def _said_by_data() -> Iterator[str]:
    names = frozenset(("title", "says", "uncertain", "look_at", "why", "order"))
    return filter(is_prose, _data_strings(names))


def said() -> dict[str, str]:
    """Every template that a visitor may read, and where it stands."""
    found: dict[str, str] = {}
    for path in _python():
        for text in _said_by_python(path):
            found.setdefault(text, path.relative_to(REPOSITORY).as_posix())
    for text in _said_by_scripts():
        found.setdefault(text, "page/*.js")
    for text in _said_by_data():
        found.setdefault(text, TABLE.name)
    return found


def untranslated() -> dict[str, str]:
    """Templates without an entry in the German catalogue, and where they stand."""
    entries = catalogue("de")
    lower = {key.lower() for key in entries}
    return {text: where for text, where in said().items() if text.lower() not in lower and text not in BENT}


def everything() -> set[str]:
    """Whatever string stands anywhere in the sources, prose or not."""
    found: set[str] = set()
    for path in _python():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for _, text in _strings(tree, set()):
            found |= {*pieces(text), _numbered(text)}
    for path in REPOSITORY.glob("page/*.js"):
        for text in script_strings(path.read_text(encoding="utf-8")):
            found |= {*pieces(text), _numbered(text)}
    return found | {*_data_strings(), *timeline_figure().layout.yaxis.ticktext}


def stale() -> list[str]:
    """Entries that no source says any more."""
    texts = everything()
    lower = {text.lower() for text in texts}
    shapes = [
        re.compile(".*?".join(map(re.escape, re.split(r"\{\d+\}", text))), re.IGNORECASE)
        for text in texts
        if re.search(r"\{\d+\}", text) and re.search(r"[A-Za-z]{2}", re.sub(r"\{\d+\}", "", text))
    ]
    whole = "\n".join(lower)

    def is_said(key: str) -> bool:
        if key.lower() in lower or key in COMPOSED:
            return True
        bare = [part.strip() for part in re.split(r"\{\d+\}", key) if re.search("[A-Za-z]", part)]
        return all(part.lower() in whole for part in bare) or (
            len(key) <= LONGEST_INSTANCE and any(shape.fullmatch(key) for shape in shapes)
        )

    return [key for key in catalogue("de") if not is_said(key)]


if __name__ == "__main__":
    for template, place in untranslated().items():
        sys.stdout.write(f"{place}: {template!r}\n")
    for key in stale():
        sys.stdout.write(f"german.json, said nowhere: {key!r}\n")
