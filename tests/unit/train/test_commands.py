"""Every command of train/README.md and docs/ is one that the command lines take, word by word. Nothing is trained."""

import argparse
import inspect
import re
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from baa_core.__main__ import build_parser
from baa_core.recipes import RECIPES
from train.__main__ import VERBS
from train.__main__ import main as train_main

REPOSITORY = Path(__file__).resolve().parents[3]
GUIDES = ("train/README.md", "docs/adding_a_system.md", "docs/explanations.md", "docs/results.md", "docs/training.md")
EXAMPLES = {"wrist_lite0", "wrist_only", "MEMBER"}  # names that a guide makes up
# The shell expands variables and loops as for a user; what would do something says its words instead.
SHELL = """
python() { printf '%s\\t' "$@"; printf '\\n'; }
cp() { :; }; split() { :; }; git() { :; }; make() { :; }; export() { :; }
"""


def commands(guide: str) -> list[list[str]]:
    """The words behind `python` in the code blocks of a guide, one list for each command."""
    text = (REPOSITORY / guide).read_text(encoding="utf-8")
    _, *parts = re.split(r"^ *```(\w*)\n", text, flags=re.MULTILINE)  # language, block, "", text between, language ...
    blocks = [block for language, block in zip(parts[::4], parts[1::4], strict=True) if language in ("", "bash")]
    script = "\n".join([SHELL, *(block for block in blocks if "python -m" in block)])
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=REPOSITORY).stdout
    return [line.rstrip("\t").split("\t") for line in said.splitlines() if line.startswith("-m\t")]


class Parsed(Exception):
    """The command line was understood; nothing more is asked of the command."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends once it has read its words."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, *given: object) -> None:
        raise Parsed(parse(self, *given))  # type: ignore[arg-type]

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)


def entry(module: str) -> Callable[[list[str]], object]:
    """What `python -m MODULE` hands its words to."""
    if module == "train":
        return train_main
    if module == "baa_core":
        return lambda words: build_parser().parse_args(words)
    main = import_module(module).main
    return main if inspect.signature(main).parameters else lambda _: main()  # it reads `sys.argv`


@pytest.mark.parametrize(
    ("guide", "words"),
    [(guide, words) for guide in GUIDES if (REPOSITORY / guide).exists() for words in commands(guide)],
)
@pytest.mark.usefixtures("parse_only")
def test_a_documented_command_is_understood(guide: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    module, *rest = words[1:]
    monkeypatch.setattr("sys.argv", [module, *rest])
    with pytest.raises(Parsed) as found:
        entry(module)(rest)
    known = {member.name for recipe in RECIPES.values() for member in recipe.networks} | set(RECIPES) | EXAMPLES
    (options,) = found.value.args
    for name in ("member", "recipe"):
        assert getattr(options, name, None) in known | {None}, f"{guide} names what is not there"


def test_the_guides_have_commands() -> None:
    """So that a change of their form does not empty the test above."""
    assert len(commands("train/README.md")) > 40
    assert len(commands("docs/adding_a_system.md")) == 3


@pytest.mark.parametrize("guide", [guide for guide in (*GUIDES, "README.md") if (REPOSITORY / guide).exists()])
def test_verbs_named_in_passing_exist(guide: str) -> None:
    text = (REPOSITORY / guide).read_text(encoding="utf-8")
    passages = re.findall(r"`(?:[A-Z_]+=\S+ )?python -m train (\w[\w-]*)|`train (\w[\w-]*)[ `]", text)
    named = {name for passage in passages for name in passage}
    members = {member.name for recipe in RECIPES.values() for member in recipe.networks}
    assert named <= set(VERBS) | members | EXAMPLES | {"", "VERB", "NAME"}
