from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from eval.main import main
from eval.report_tables import markdown
from rlcode.cli import run
from rlcode.errors import EngineError
from rlcode.types import Completion, EvalReport, Unscored, Verdict, from_json
from sampling.engine import GenerationRequest, SamplingParams
from sandbox.protocol import Job

if TYPE_CHECKING:
    from tests.eval.conftest import ScriptedSandbox

Lines = Callable[..., Path]
PASS, FAIL, LOST = "    return 'pass'", "    return 1", "    return 'lost'"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def samples_of(**texts: list[str]) -> list[dict[str, str]]:
    return [{"task_id": f"T/{task[1:]}", "completion": text} for task, some in texts.items() for text in some]


class Command:
    """`rlcode eval` on the benchmark of three tasks."""

    def __init__(self, benchmark_file: Path, output_dir: Path) -> None:
        self.base = ["--benchmark", "humaneval", "--benchmark_file", str(benchmark_file)]
        self.output_dir = output_dir

    def argv(self, *words: object) -> list[str]:
        return [*self.base, "--output_dir", str(self.output_dir), *map(str, words)]

    def __call__(self, *words: object) -> int:
        return main(self.argv(*words))

    def refused(self, capsys: pytest.CaptureFixture[str], *words: object) -> str:
        """Run what must be refused: exit code 2, nothing written. Returns the message."""
        assert run("eval.main", self.argv(*words)) == 2
        assert not self.output_dir.exists() or not any(self.output_dir.iterdir())
        return capsys.readouterr().err

    def report(self) -> EvalReport:
        return from_json(EvalReport, json.loads((self.output_dir / "report.json").read_text(encoding="utf-8")))

    def verdicts(self) -> list[dict[str, Any]]:
        return rows_of(self.output_dir / "verdicts.jsonl")


@pytest.fixture
def command(benchmark_file: Path, tmp_path: Path) -> Command:
    return Command(benchmark_file, tmp_path / "out")


def test_a_samples_file_becomes_a_report(command: Command, sandbox: ScriptedSandbox, lines: Lines) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[PASS, FAIL], t1=[FAIL, FAIL], t2=[PASS, PASS]))
    assert command("--samples", samples, "--k", 2, 1) == 0
    report = command.report()
    assert {k: interval.value for k, interval in report.pass_at_k.items()} == {"1": 0.5, "2": pytest.approx(2 / 3)}
    assert all(0 <= i.low < i.value < i.high <= 1 for i in report.pass_at_k.values())
    assert report.error_types == {"wrong_answer": 3}
    assert (report.num_tasks, report.num_samples, report.unscored) == (3, 6, 0)
    assert (report.backend, report.image_digest) == ("scripted", "sha256:0")
    assert report.policy["samples"] == str(samples)
    assert len(report.policy["sha256"]) == 64
    assert report.versions["python"]
    assert sandbox.closed


def test_excluded_tasks_are_left_out_and_the_report_says_so(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, tmp_path: Path
) -> None:
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("# spoilt\nT/1\n")
    samples = lines("samples.jsonl", *samples_of(t0=[PASS], t2=[FAIL]))
    assert command("--samples", samples, "--exclude", exclude) == 0
    report = command.report()
    assert (report.num_tasks, report.pass_at_k["1"].value, report.tasks_without_samples) == (2, 0.5, ())
    assert report.data["exclude"] == str(exclude)


def test_what_was_written_for_excluded_tasks_is_passed_over(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("T/0\n")
    rows = lines("samples.jsonl", *samples_of(t0=[PASS, PASS], t1=[FAIL], t2=[PASS]))
    generations = tmp_path / "generations.json"
    generations.write_text(json.dumps([["pass"], ["1"], ["pass"]]))
    for samples in (rows, generations):
        assert command("--samples", samples, "--exclude", exclude, "--overwrite") == 0
        assert [(row["task_id"], row["passed"]) for row in command.verdicts()] == [("T/1", False), ("T/2", True)]
        assert (command.report().num_tasks, command.report().num_samples) == (2, 2)
    only = lines("only.jsonl", *samples_of(t0=[PASS]))
    assert run("eval.main", command.argv("--samples", only, "--exclude", exclude, "--overwrite")) == 2
    assert f"all of its tasks are excluded by {exclude}" in capsys.readouterr().err


def test_an_interval_does_not_depend_on_the_order_of_the_samples(
    command: Command, sandbox: ScriptedSandbox, lines: Lines
) -> None:
    rows = samples_of(t0=[PASS, FAIL, FAIL], t1=[PASS, PASS, FAIL], t2=[FAIL] * 3)
    intervals = []
    for name, some in (("one.jsonl", rows), ("other.jsonl", rows[::-1])):
        command("--samples", lines(name, *some), "--overwrite")
        intervals.append(command.report().pass_at_k["1"])
    assert intervals[0] == intervals[1]


def test_verdicts_are_rows_in_the_order_of_the_samples(
    command: Command, sandbox: ScriptedSandbox, lines: Lines
) -> None:
    rows = samples_of(t1=[FAIL], t0=[PASS, LOST])
    command("--samples", lines("samples.jsonl", rows[1], rows[0], rows[2]), "--max_unscored_share", 0.5)
    passed, failed, lost = command.verdicts()
    assert passed == {
        "task_id": "T/0",
        "index": 0,
        "passed": True,
        "error_type": None,
        "exception": None,
        "tests_passed": 3,
        "tests_total": 3,
        "line": None,
        "first_failing_test": None,
        "signature": None,
        "detail": "",
        "extraction": "continuation",
        "time_s": 0.1,
        "memory_mb": 0.0,
        "unscored_reason": None,
    }
    assert (failed["task_id"], failed["index"], failed["passed"]) == ("T/1", 0, False)
    assert (failed["error_type"], failed["exception"], failed["line"]) == ("wrong_answer", "AssertionError", 4)
    assert (failed["tests_passed"], failed["tests_total"]) == (1, 3)
    assert (lost["task_id"], lost["index"], lost["unscored_reason"]) == ("T/0", 1, "the engine is gone")
    assert lost["passed"] is lost["error_type"] is lost["tests_total"] is None


def test_an_unscored_sample_leaves_the_denominator_and_withholds_a_k(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[PASS, LOST], t1=[PASS, PASS], t2=[PASS, PASS]))
    command("--samples", samples, "--k", 1, 2, "--max_unscored_share", 0.5)
    report = command.report()
    assert report.pass_at_k.keys() == {"1"}
    assert report.pass_at_k["1"].value == 1.0
    assert report.withheld == {"2": "T/0 has only 1 scored samples"}
    assert report.unscored == 1
    shown = capsys.readouterr().out
    assert "pass@2 is withheld: T/0 has only 1 scored samples" in shown
    assert "1 samples could not be judged and count for nothing" in shown


def test_too_many_unscored_samples_stop_the_command(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[LOST, LOST], t1=[PASS], t2=[PASS]))
    assert run("eval.main", command.argv("--samples", samples)) == 1
    assert "could not be judged, the last one because: the engine is gone" in capsys.readouterr().err
    assert not (command.output_dir / "report.json").exists()
    assert not (command.output_dir / "verdicts.jsonl").exists()


def test_tasks_without_samples_are_named_and_the_others_scored(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--samples", lines("samples.jsonl", *samples_of(t1=[PASS])))
    report = command.report()
    assert report.tasks_without_samples == ("T/0", "T/2")
    assert report.pass_at_k["1"].value == 1.0
    assert "2 tasks without samples: T/0, T/2" in capsys.readouterr().out
    assert "2 tasks without samples: T/0, T/2." in (command.output_dir / "report.md").read_text()


def test_the_page_tells_of_lost_greedy_answers_and_of_tasks_without_samples() -> None:
    missing = tuple(f"T/{number}" for number in range(12))
    report = EvalReport("humaneval", 15, 3, {}, {}, unscored=0, greedy_unscored=2, tasks_without_samples=missing)
    lost, without = markdown(report).splitlines()[-2:]
    assert lost == "2 samples could not be judged and count for nothing."
    assert without == f"12 tasks without samples: {', '.join(missing[:10])} and 2 more."


def test_tasks_without_samples_are_refused_on_request(
    command: Command, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = lines("samples.jsonl", *samples_of(t1=[PASS]))
    assert "2 tasks have no sample, T/0 first" in command.refused(capsys, "--samples", samples, "--require_all_tasks")


def test_completions_follow_the_benchmarks_prompt_and_solutions_stand_alone(
    command: Command, sandbox: ScriptedSandbox, lines: Lines
) -> None:
    command(
        "--samples",
        lines(
            "samples.jsonl",
            {"task_id": "T/0", "completion": PASS, "prompt": "def other():\n"},
            {"task_id": "T/1", "completion": "```py\ndef f1(x):\n    return 'pass'\n```"},
            {"task_id": "T/2", "completion": FAIL, "solution": "Sure!\n```pass"},
        ),
    )
    assert [job.program.source for job in sandbox.jobs] == [
        'def f0(x):\n    """ Say 0. """\n    return \'pass\'',
        "def f1(x):\n    return 'pass'\n",
        "Sure!\n```pass",
    ]


@pytest.mark.parametrize("field", ["completion", "solution"])
def test_an_over_long_text_has_no_code(command: Command, sandbox: ScriptedSandbox, lines: Lines, field: str) -> None:
    command("--samples", lines("samples.jsonl", {"task_id": "T/0", field: "x" * 200_001}))
    (row,) = command.verdicts()
    assert (row["passed"], row["error_type"]) == (False, "no_code")
    assert row["detail"] == "the completion is too long: 200,001 characters; the limit is 200,000"


def test_limits_reach_the_sandbox(command: Command, sandbox: ScriptedSandbox, lines: Lines) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[PASS]))
    command("--samples", samples, "--time_limit", 2.5, "--memory_limit_mb", 99)
    assert (sandbox.jobs[0].limits.time_s, sandbox.jobs[0].limits.memory_mb) == (2.5, 99)


def test_a_k_above_the_samples_of_a_task_is_withheld_and_one_that_none_reaches_is_refused(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[PASS, PASS], t1=[PASS]))
    message = command.refused(capsys, "--samples", samples, "--k", 5, 2)
    assert "pass@2 needs 2 samples of each task, and one has 1; lower --k or add samples" in message
    assert sandbox.jobs == []
    command("--samples", samples, "--k", 1, 2)
    assert command.report().withheld == {"2": "T/1 has only 1 scored samples"}


def test_a_report_is_not_replaced_unless_asked(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--samples", lines("samples.jsonl", *samples_of(t0=[PASS])))
    other = lines("other.jsonl", *samples_of(t0=[FAIL]))
    assert run("eval.main", command.argv("--samples", other)) == 2
    assert "holds a report already; choose another --output_dir or add --overwrite" in capsys.readouterr().err
    assert command.report().pass_at_k["1"].value == 1.0
    (command.output_dir / "report.html").write_text("a page of what is replaced")
    command("--samples", other, "--overwrite")
    assert command.report().pass_at_k["1"].value == 0.0
    assert not (command.output_dir / "report.html").exists()


def test_no_file_of_somebody_else_is_replaced(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[PASS]))
    assert run("eval.main", [*command.base, "--output_dir", str(samples.parent), "--samples", str(samples)]) == 2
    assert "samples.jsonl" in capsys.readouterr().err
    assert samples.exists()
    command.output_dir.mkdir()
    (command.output_dir / "drawn.jsonl").write_text("what a model wrote")
    assert run("eval.main", command.argv("--samples", samples)) == 2
    assert "holds drawn.jsonl already" in capsys.readouterr().err
    assert (command.output_dir / "drawn.jsonl").exists()
    assert command("--samples", samples, "--overwrite") == 0
    (command.output_dir / "notes.txt").write_text("mine")
    assert run("eval.main", command.argv("--samples", samples, "--overwrite")) == 2
    assert "holds notes.txt, which no evaluation wrote" in capsys.readouterr().err
    assert command.report().pass_at_k["1"].value == 1.0


def test_an_evaluation_is_not_replaced_before_there_can_be_a_new_one(
    command: Command,
    sandbox: ScriptedSandbox,
    engine: Callable[[ScriptedEngine], ScriptedEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["--model", "some/model", "--num_samples", 2]
    engine(ScriptedEngine())
    assert command(*words) == 0
    before = {file.name: file.read_bytes() for file in command.output_dir.iterdir()}

    def no_engine(*arguments: object, **options: object) -> None:
        raise EngineError("there is no such model")

    monkeypatch.setattr("sampling.engine.open_engine", no_engine)
    assert run("eval.main", command.argv(*words, "--overwrite")) == 1
    assert {file.name: file.read_bytes() for file in command.output_dir.iterdir()} == before
    engine(ScriptedEngine())
    assert command(*words, "--overwrite", "--temperature", 0.1) == 0
    assert command.report().policy["temperature"] == 0.1


def test_after_how_many_failures_a_program_is_asked_no_more_may_change_when_an_evaluation_goes_on(
    command: Command, sandbox: ScriptedSandbox, engine: Callable[[ScriptedEngine], ScriptedEngine]
) -> None:
    words = ["--model", "some/model", "--num_samples", 2]
    engine(ScriptedEngine(fails_after=3))
    assert run("eval.main", command.argv(*words)) == 1
    assert {job.limits.failures for job in sandbox.jobs} == {1}
    mended = engine(ScriptedEngine())
    assert command(*words, "--failure_limit", 9) == 0
    assert len(mended.asked) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b'{"task_id": "T/0", "completion": "a"}\n{"task_id"', "line 2: not valid JSON"),
        (b'{"task_id": "T/0", "completion": "a\xe9"}\n', "line 1: byte 0xe9 at position 36 of the line is not UTF-8"),
        (b'{"completion": "a"}\n', "line 1: field 'task_id' is missing"),
        (b'{"task_id": "T/0"}\n', "line 1: neither 'completion' nor 'solution'"),
        (b'{"task_id": "T/7", "completion": ""}\n', "line 1: unknown task 'T/7'"),
    ],
)
def test_a_samples_file_that_cannot_be_used_is_refused_before_anything_is_judged(
    command: Command,
    sandbox: ScriptedSandbox,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    words: str,
) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(content)
    message = command.refused(capsys, "--samples", path)
    assert words in message
    assert str(path) in message
    assert sandbox.jobs == []


def test_wrong_arguments_are_refused(command: Command, lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[PASS]))
    assert "either --samples FILE or --model PATH" in command.refused(capsys)
    assert "either --samples FILE or" in command.refused(capsys, "--samples", samples, "--model", "m")
    assert "--adapter and --greedy need --model" in command.refused(capsys, "--samples", samples, "--greedy")
    assert "time_limit must be from 0.05 to 3,600, got nan" in command.refused(
        capsys, "--samples", samples, "--time_limit", "nan"
    )
    assert "--k must be 1 or more" in command.refused(capsys, "--samples", samples, "--k", 0)
    assert "does not exist" in command.refused(capsys, "--samples", "absent.jsonl")


def test_an_unknown_benchmark_or_a_missing_benchmark_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--samples", "s.jsonl", "--output_dir", str(tmp_path / "out")]
    assert run("eval.main", ["--benchmark", "humanevil", *rest]) == 2
    assert "unknown benchmark 'humanevil'; known: humaneval, humanevalplus, mbpp, " in capsys.readouterr().err
    assert run("eval.main", ["--benchmark", "mbpp", "--benchmark_file", "absent", *rest]) == 2
    assert "absent does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_benchmark_row_without_tests_is_refused(
    tmp_path: Path, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = lines("bad.jsonl", {"task_id": "T/0", "prompt": "", "entry_point": "f", "canonical_solution": "", "test": ""})
    argv = ["--benchmark", "humaneval", "--benchmark_file", str(bad), "--samples", "s", "--output_dir", str(tmp_path)]
    assert run("eval.main", argv) == 2
    assert f"{bad}, line 1: no tests" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_report(command: Command, sandbox: ScriptedSandbox, lines: Lines) -> None:
    samples = lines("samples.jsonl", *samples_of(t0=[PASS, FAIL, FAIL], t1=[PASS, PASS, FAIL], t2=[FAIL] * 3))
    reports = []
    for _ in range(2):
        command("--samples", samples, "--k", 1, 2, "--seed", 3, "--overwrite")
        reports.append((command.output_dir / "report.json").read_bytes())
    assert reports[0] == reports[1]


def test_help_needs_neither_torch_nor_numpy() -> None:
    script = (
        "import sys; from rlcode.cli import main\ntry: main(['eval', '--help'])\nfinally: print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=os.environ)
    assert "--require_all_tasks" in done.stdout
    assert not {"torch", "numpy", "docker", "datasets", "trl", "rich"} & set(done.stdout.split("'"))


class ScriptedEngine:
    """Writes a completion that passes for even tasks, when sampling; always when greedy."""

    name = "scripted"
    policy_version = 0
    block_size = None

    def __init__(self, fails_after: int | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self._fails_after = fails_after

    def tokenizer(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}

    def generate(self, requests: Sequence[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        for request in requests:
            if self._fails_after == len(self.asked):
                raise EngineError("the GPU is gone")
            self.asked.append((request.task_id, request.index))
            good = params.temperature == 0 or request.task_id != "T/1"
            text = (PASS if good else FAIL) + "\n\ndef next_task(x):\n    return ["
            yield Completion(request.task_id, request.index, text, finish_reason="length")

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptedEngine], ScriptedEngine]:
    """Makes an engine the one that `rlcode eval` opens. Its model has no weights to be known by."""
    monkeypatch.setattr("sampling.provenance.made_with", lambda *arguments: {"weights": "none"})

    def use(scripted: ScriptedEngine) -> ScriptedEngine:
        monkeypatch.setattr("sampling.engine.open_engine", lambda *args, **options: scripted)
        return scripted

    return use


def test_a_model_is_sampled_and_judged_without_the_tail_that_was_cut_off(
    command: Command, sandbox: ScriptedSandbox, engine: Callable[[ScriptedEngine], ScriptedEngine]
) -> None:
    engine(ScriptedEngine())
    assert command("--model", "some/model", "--num_samples", 4, "--k", 1, 4, "--greedy", "--temperature", 0.5) == 0
    report = command.report()
    assert report.num_samples == 12
    assert {k: i.value for k, i in report.pass_at_k.items()} == {"1": pytest.approx(2 / 3), "4": pytest.approx(2 / 3)}
    assert report.greedy is not None
    assert report.greedy.value == 1.0
    assert (report.policy["model"], report.policy["temperature"]) == ("some/model", 0.5)
    rows = rows_of(command.output_dir / "samples.jsonl")
    assert len(rows) == 12
    assert rows[0]["completion"] == PASS + "\n\ndef next_task(x):\n    return ["
    assert rows[0]["solution"] == 'def f0(x):\n    """ Say 0. """\n    return \'pass\'\n\n'
    assert [row["task_id"] for row in rows] == ["T/0"] * 4 + ["T/1"] * 4 + ["T/2"] * 4


def test_an_evaluation_that_broke_off_draws_only_what_is_missing_and_ends_as_an_undisturbed_one(
    command: Command,
    sandbox: ScriptedSandbox,
    engine: Callable[[ScriptedEngine], ScriptedEngine],
    benchmark_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--model", "some/model", "--num_samples", 4, "--k", 1, 2, "--greedy"]
    broken = engine(ScriptedEngine(fails_after=7))
    assert run("eval.main", command.argv(*words)) == 1
    assert not (command.output_dir / "report.json").exists()
    with open(command.output_dir / "drawn.jsonl", "ab") as file:
        file.write(b'{"task_id": "T/1", "ind')  # as a kill in the middle of a line leaves it
    mended = engine(ScriptedEngine())
    assert run("eval.main", command.argv(*words, "--temperature", 0.3)) == 2
    assert "temperature: 0.8 then, 0.3 now" in capsys.readouterr().err
    assert command(*words) == 0
    greedy = [(f"T/{task}", 0) for task in range(3)]
    assert len(mended.asked) == 5 + len(greedy)
    assert sorted(broken.asked + mended.asked[:5]) == [(f"T/{task}", i) for task in range(3) for i in range(4)]

    engine(ScriptedEngine())
    whole = Command(benchmark_file, tmp_path / "whole")
    assert whole(*words) == 0
    for name in (
        "report.json",
        "report.md",
        "problems.csv",
        "verdicts.jsonl",
        "samples.jsonl",
        "greedy_verdicts.jsonl",
    ):
        assert (command.output_dir / name).read_bytes() == (whole.output_dir / name).read_bytes(), name
    assert not (command.output_dir / "drawn.jsonl").exists()


def test_what_could_not_be_judged_is_judged_once_more(
    command: Command, sandbox: ScriptedSandbox, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = sandbox._outcome

    def lost_at_first(job: Job) -> Verdict | Unscored:
        return Unscored("a hiccup") if len(sandbox.jobs) == 2 else outcome(job)

    monkeypatch.setattr(sandbox, "_outcome", lost_at_first)
    command(
        "--samples", lines("samples.jsonl", *samples_of(t0=[PASS], t1=[PASS], t2=[FAIL])), "--max_unscored_share", 0.5
    )
    assert len(sandbox.jobs) == 4
    assert command.report().unscored == 0
    assert [row["passed"] for row in command.verdicts()] == [True, True, False]


def test_the_figures_are_there_as_markdown_and_csv_and_by_problem_difficulty_and_tag(
    sandbox: ScriptedSandbox, lines: Lines, tmp_path: Path
) -> None:
    problems = lines(
        "problems.jsonl",
        *(
            {
                "task_id": f"P/{number}",
                "prompt": f"def f{number}(x):\n",
                "entry_point": f"f{number}",
                "tests": [{"kind": "asserts", "code": f"assert f{number}(0) == 0"}],
                "difficulty": "easy" if number < 2 else "hard",
                "tags": ["a"] if number else ["a", "b"],
            }
            for number in range(3)
        ),
    )
    rows = [{"task_id": f"P/{n}", "solution": text} for n, some in enumerate(("pf", "pp", "ff")) for text in some]
    texts = {"p": "def f(x):\n    pass", "f": "def f(x):\n    return 1"}
    samples = lines("samples.jsonl", *({**row, "solution": texts[row["solution"]]} for row in rows))
    argv = [
        "--benchmark",
        "jsonl",
        "--benchmark_file",
        problems,
        "--samples",
        samples,
        "--output_dir",
        tmp_path / "out",
    ]
    assert main(list(map(str, argv))) == 0
    report = from_json(EvalReport, json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")))
    assert {name: part.pass_at_k["1"].value for name, part in report.by_difficulty.items()} == {"easy": 0.75, "hard": 0}
    assert {name: (part.num_tasks, part.pass_at_k["1"].value) for name, part in report.by_tag.items()} == {
        "a": (3, 0.5),
        "b": (1, 0.5),
    }
    assert (tmp_path / "out" / "problems.csv").read_text(encoding="utf-8").splitlines() == [
        "task_id,difficulty,tags,scored,passed,passed_base,most_frequent_error,pass@1",
        "P/0,easy,a b,2,1,,wrong_answer,0.5",
        "P/1,easy,a,2,2,,,1.0",
        "P/2,hard,a,2,0,,wrong_answer,0.0",
    ]
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| pass@1 | 50.0% | " in markdown
    assert "| pass@1, difficulty easy (2 tasks) | 75.0% |" in markdown
    table = (tmp_path / "out" / "report.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "figure,value,low,high"
    assert table[1].startswith("pass@1,0.5,")
    assert "error wrong_answer,3,," in table
    assert len(report.data["version"]["sha256"]) == 64


def test_a_program_of_40_mb_in_one_line_and_thousands_of_equal_samples_of_one_task_are_judged(
    command: Command, sandbox: ScriptedSandbox, tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    row = json.dumps({"task_id": "T/1", "completion": PASS})
    huge = json.dumps({"task_id": "T/1", "solution": "x" * 40_000_000})
    path.write_text("\n".join([huge, *[row] * 3000]) + "\n", encoding="utf-8")
    command("--samples", path, "--k", 1, 1000)
    report = command.report()
    assert (report.num_samples, report.unscored, report.error_types) == (3001, 0, {"no_code": 1})
    assert report.pass_at_k["1"].value == pytest.approx(3000 / 3001)
    assert report.tasks_without_samples == ("T/0", "T/2")
    assert command.verdicts()[0]["error_type"] == "no_code"
