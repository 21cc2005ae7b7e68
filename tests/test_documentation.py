"""What the documentation shows is there: commands, options, files, links, names."""

from __future__ import annotations

import ast
import functools
import pkgutil
import re
from pathlib import Path

import pytest
import yaml

from rlcode.cli import COMMANDS
from tests.shown_commands import PAGES, ROOMS, ROOT, Shown, commands_in, known_options, problem_with, shown_commands

FOREIGN = {
    *("--enable-lora", "--logprobs-mode"),  # vLLM's
    *("--requeue", "--nodes", "--module"),  # Slurm's, accelerate's
}
FOLDERS = "|".join((*ROOMS, "configs", "docs", "benchmarks", "tests", r"\.ci"))
PATH = re.compile(rf"(?:{FOLDERS})/(?:[\w./*-]*(?:/|\.(?:py|md|yaml|json|jsonl|sh|txt|sbatch)))?")
ALL = shown_commands()


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_command_that_is_shown_is_understood(command: Shown):
    assert problem_with(command) is None


def test_the_commands_of_all_kinds_of_places_are_found():
    shown = {(command.page, command.words[:2]) for command in ALL}
    assert ("README.md", ("make", "quickstart")) in shown
    assert ("docs/sandbox.md", ("rlcode", "sandbox")) in shown
    assert ("benchmarks/README.md", ("python", "-m")) in shown, "in a fence"
    assert ("configs/slurm/dpo.sbatch", ("sbatch", "--nodes")) in shown, "in a comment, over two lines"
    assert ("train/dpo.py", ("accelerate", "launch")) in shown, "in a docstring"
    assert any(command.words[-2:] == ("run", "-") for command in ALL), "behind a pipe"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("rlcode evaluate --k 1", "evaluate"),
        ("rlcode eval --benchmark humaneval --smples x --output_dir y", "--smples"),
        ("rlcode eval --benchmark humaneval --sampl x --output_dir y", "--sampl"),
        ("rlcode sandbox run answer.py --benchmrk humaneval", "--benchmrk"),
        ("rlcode rollout --config configs/rollout.yaml --num_generation 4 --output_dir x", "--num_generation"),
        ("rlcode rollout show runs/r1 --faild", "--faild"),
        ("rlcode plan --config configs/dpo.yaml --gpu 4", "--gpu"),
        ("rlcode serve --model x --prt 1", "--prt"),
        ("rlcode merge-adapters a b --output c --search --benchmark mbpp --num_sample 4", "--num_sample"),
        ("accelerate launch --num_proceses 2 train/dpo.py --config configs/dpo.yaml", "--num_proceses"),
        ("accelerate launch train/dpo.py --config configs/dpo.yaml --rollout runs/r1 --output_dir x", "--rollout"),
        ("accelerate launch train/dpo.py --config configs/dpoo.yaml --output_dir x", "dpoo.yaml"),
        ("accelerate launch train/ppo.py --config configs/dpo.yaml", "train/ppo.py"),
        ("python -m benchmarks.sandbox --data X --round 7", "--round"),
        ("make quickstrat", "quickstrat"),
        ("pip install 'rlcode[qlra]'", "qlra"),
        ("sbatch configs/slurm/dpo.sbatch --config configs/dpo.yaml --rolouts x --output_dir y", "--rolouts"),
    ],
)
def test_a_slip_of_the_pen_in_any_of_them_would_be_noticed(line: str, complaint: str):
    (words,) = commands_in(line)
    assert complaint in (problem_with(Shown("page", 1, words)) or "")


@functools.cache
def options() -> dict[str, set[str]]:
    return known_options()


def test_every_benchmark_can_write_its_figures_to_a_file():
    benchmarks = {name: known for name, known in options().items() if name.startswith("benchmarks.")}
    assert {"benchmarks.sandbox", "benchmarks.eval", "benchmarks.training"} <= benchmarks.keys()
    assert [name for name, known in benchmarks.items() if "--json" not in known] == []


def inline_code(page: Path) -> list[str]:
    """What stands between backticks in running text."""
    text = re.sub(r"^( *)(`{3,}).*?^ *\2", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_and_commands_in_running_text_are_there(page: Path):
    known, wrong = options(), []
    everything = set().union(*known.values(), FOREIGN)
    for code in inline_code(page):
        name = " ".join(code.split()[:2])
        if (command := re.fullmatch("rlcode ([a-z-]+)", name)) and command[1] not in COMMANDS and name not in known:
            wrong.append(code)
        if code.startswith(("rlcode ", "--")):
            here = known.get(name, everything)
            wrong += [f"{code}: {word}" for word in re.findall(r"(?:^|\s)(--[\w-]+)", code) if word not in here]
    assert wrong == []


def fenced(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def test_keys_of_yaml_examples_are_fields():
    everything = set().union(*options().values())
    keys = {(page.name, key) for page in PAGES for block in fenced(page, "yaml") for key in yaml.safe_load(block)}
    assert ("dpo.md", "quiz_steps") in keys
    assert [(page, key) for page, key in sorted(keys) if f"--{key}" not in everything] == []


def test_python_examples_compile_and_import_what_is_there():
    blocks = [(page.name, block) for page in PAGES if page.name != "README.md" for block in fenced(page, "python")]
    assert {"extending.md", "rewards.md", "sandbox.md"} <= {name for name, _ in blocks}
    for name, block in blocks:
        for node in ast.walk(ast.parse(block, name)):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in ROOMS:
                exec(ast.unparse(node), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_names_in_running_text_are_there(page: Path):
    wrong = []
    for code in inline_code(page):
        if PATH.fullmatch(code) and not any(ROOT.glob(code.replace("SIZE", "*").rstrip("/"))):
            wrong.append(code)
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+", code) and not code.endswith(
            (".md", ".yaml", ".json", ".py")
        ):
            try:
                pkgutil.resolve_name(code)
            except (ImportError, AttributeError) as error:
                wrong.append(f"{code}: {error}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8").replace("\n", " ")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            wrong.append(target)
    assert wrong == []


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_that_code_and_configurations_name_is_there():
    sources = [path for room in (*ROOMS, "configs", "benchmarks") for path in (ROOT / room).rglob("*.*")]
    named = {
        name
        for path in sources
        if path.suffix in (".py", ".yaml", ".sbatch")
        for name in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert "docs/scaling.md" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_page_can_be_reached_from_the_index():
    linked = set(re.findall(r"\]\(([\w/]+\.md)", (ROOT / "docs/README.md").read_text(encoding="utf-8")))
    pages = {str(path.relative_to(ROOT / "docs")) for path in PAGES if path.parent.name == "docs"} - {"README.md"}
    assert pages <= linked
