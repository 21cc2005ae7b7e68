"""Rounds follow each other, what is done is not done again, and a loop that was killed goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from trl import GRPOConfig, ModelConfig

from eval.run_report.build import build_page
from rlcode.config import parse_config
from rlcode.data import jsonl
from rlcode.data.registry import training_problems_from
from rlcode.errors import ConfigError
from rlcode.run_directory import write_json_lines
from rlcode.types import EvalReport, Interval, Problem, TestCase, TestKind, to_json
from sampling.arguments import RolloutArguments
from sampling.notebook import ErrorNotebook
from tests.sandbox.fleet import eventually
from train import loop as loop_module
from train.arguments import GrpoArguments
from train.loop import Loop, check_stages, problems_of_round, trial_commands
from train.loop_arguments import LoopArguments, command_line
from train.stage_process import LoopStoppedError, StageFailedError, end_leftover, run_stage

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
PROBLEMS = [Problem(f"t/{n}", "", (TestCase(TestKind.ASSERTS, code="assert f(1)"),), "f") for n in range(10)]


def arguments(**given: Any) -> LoopArguments:
    return LoopArguments(**{"model": "base", "output_dir": "out", "validation": {"benchmark": "mbpp"}, **given})


# What the loop decides.


def test_every_problem_has_its_turn_before_one_comes_again() -> None:
    args = arguments(problems_per_round=4)
    ids = [[problem.task_id for problem in problems_of_round(PROBLEMS, number, args)] for number in range(1, 6)]
    assert [len(set(one)) for one in ids] == [4] * 5
    assert Counter(task_id for one in ids for task_id in one) == {problem.task_id: 2 for problem in PROBLEMS}
    assert ids == [
        [problem.task_id for problem in problems_of_round(PROBLEMS[::-1], number, args)] for number in range(1, 6)
    ]
    assert ids[0] != [problem.task_id for problem in problems_of_round(PROBLEMS, 1, arguments(seed=1))][:4]


def test_options_become_a_command_line() -> None:
    options = {"lr": 0.1, "loss_type": ["a", "b"], "none": None, "bf16": False, "power": {"x": 1}}
    assert [*command_line(options)] == [
        *("--lr", "0.1", "--loss_type", "a", "b", "--bf16", "false", "--power", '{"x": 1}')
    ]
    assert [*command_line({"system_prompt": "--- Be brief."})] == ["--system_prompt=--- Be brief."]
    assert [*command_line({"exponent": -1e-6, "urls": []})] == ["--exponent=-1e-06"]
    switched = command_line({"greedy": True, "overwrite": False, "thinking": False}, switches=("greedy", "overwrite"))
    assert [*switched] == ["--greedy", "--thinking", "false"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": ["ppo"]}, "no method 'ppo'; known: dpo, rft, grpo"),
        ({"methods": []}, "at least one of dpo"),
        ({"dpo": {"rollouts": ["x"]}}, "dpo: rollouts is the loop's own affair"),
        ({"validation": {"num_samples": 3}}, "validation must name a benchmark"),
        ({"rollout": "3"}, "rollout must be a JSON object"),
        ({"model": None}, "needs --model"),
        ({"rounds": 0}, "rounds must be at least 1"),
    ],
)
def test_a_configuration_that_can_not_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arguments(**given)


def test_a_stages_own_file_is_read_without_what_the_loop_decides(tmp_path: Path) -> None:
    file = tmp_path / "grpo.yaml"
    file.write_text("split: train\nadapter: other\nseed: 3\nlearning_rate: 1.0e-5\nbeta: 0.1\n")
    args = arguments(methods=["grpo"], grpo={"config": str(file), "beta": 0.2})
    assert args.options("grpo") == {"learning_rate": 1e-5, "beta": 0.2}
    file.write_text("env: {A: 1}")
    with pytest.raises(ConfigError, match=r"grpo: .*grpo\.yaml sets env"):
        arguments(methods=["grpo"], grpo={"config": str(file)})
    with pytest.raises(ConfigError, match="set HF_TOKEN instead"):
        arguments(dpo={"hub_token": "secret"})


def test_what_only_says_how_a_stage_is_carried_out_may_change_and_what_it_computes_may_not(tmp_path: Path) -> None:
    file, unused = tmp_path / "rollout.yaml", {"config": str(tmp_path / "nowhere.yaml")}
    file.write_text("engine_gpu_memory_utilization: 0.9\ntemperature: 1.0\n")
    before = arguments(rollout={"config": str(file)}, grpo=unused).record()
    assert "grpo" not in before
    file.write_text("engine_gpu_memory_utilization: 0.7\ntemperature: 1.0\n")
    assert arguments(rollout={"config": str(file)}).record() == before
    file.write_text("temperature: 0.7\n")
    assert arguments(rollout={"config": str(file)}).record() != before


@pytest.mark.parametrize("stage", ["rollout", "dpo"])
def test_a_slip_in_a_stages_own_file_is_found_before_the_first_stage(tmp_path: Path, stage: str) -> None:
    (tmp_path / "options.yaml").write_text("learning_rat: 1\nbenchmark: mbpp\n")
    with pytest.raises(ConfigError, match=f"^{stage}: .*--learning_rat"):
        check_stages(arguments(**{stage: {"config": str(tmp_path / "options.yaml")}}))


# The walk through the stages, with stages that only leave behind what real ones do.


class Stages:
    """Remembers what was run; `pass_at_1` gives the validations their results in turn."""

    def __init__(self, pass_at_1: Sequence[float], fails_at: str = "") -> None:
        self.run: dict[str, list[str]] = {}
        self.pass_at_1 = list(pass_at_1)
        self.fails_at = fails_at

    def __call__(self, command: Sequence[str], directory: Path, name: str) -> None:
        assert name not in self.run, "no stage is run twice"
        if name == self.fails_at:
            raise StageFailedError(name)
        self.run[name] = list(command)
        output = Path(self.option(name, "output_dir"))
        output.mkdir(parents=True)
        if name.endswith("validation"):
            value = self.pass_at_1[len([one for one in self.run if one.endswith("validation")]) - 1]
            report = EvalReport("mbpp", 9, 90, {"1": Interval(value, value, value)}, {"syntax": 9}, 0)
            (output / "report.json").write_text(json.dumps(to_json(report)))
        elif name.endswith("rollouts"):
            (output / "rollouts.jsonl").touch()
        else:
            (output / "adapter").mkdir()
            (output / "adapter" / "adapter_config.json").touch()
            if not name.endswith("rft"):
                ErrorNotebook().save(output / "notebook.json")

    def option(self, name: str, option: str) -> str:
        words = self.run[name]
        return words[words.index(f"--{option}") + 1] if f"--{option}" in words else ""


@pytest.fixture
def make_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    jsonl.save(PROBLEMS, tmp_path / "problems.jsonl")

    def make(stages: Stages, **given: Any) -> Loop:
        monkeypatch.setattr(loop_module, "run_stage", stages)
        (tmp_path / "run").mkdir(exist_ok=True)
        args = arguments(benchmark_file=str(tmp_path / "problems.jsonl"), output_dir=str(tmp_path / "run"), **given)
        return Loop(args, tmp_path / "run", lambda text: None)

    return make


def test_each_stage_starts_from_the_last_adapter_and_knows_what_was_seen(make_loop: Any, tmp_path: Path) -> None:
    stages = Stages([0.1, 0.2, 0.3])
    make_loop(stages, rounds=2, methods=["dpo", "grpo"], problems_per_round=5).run()
    run = tmp_path / "run"
    assert [*stages.run] == [
        "start/validation",
        *(f"round-01/{stage}" for stage in ("rollouts", "dpo", "grpo", "validation")),
        *(f"round-02/{stage}" for stage in ("rollouts", "dpo", "grpo", "validation")),
    ]
    assert stages.option("round-01/rollouts", "adapter") == ""
    assert stages.option("round-01/dpo", "adapter") == ""
    assert stages.option("round-01/dpo", "notebook") == ""
    assert stages.option("round-01/dpo", "rollouts") == str(run / "round-01/rollouts")
    assert stages.option("round-01/grpo", "adapter") == str(run / "round-01/dpo/adapter")
    assert stages.option("round-01/grpo", "notebook") == str(run / "round-01/dpo/notebook.json")
    assert stages.option("round-01/grpo", "benchmark_file") == str(run / "round-01/problems.jsonl")
    for stage in ("rollouts", "dpo"):
        assert stages.option(f"round-02/{stage}", "adapter") == str(run / "round-01/grpo/adapter")
    assert stages.option("round-02/dpo", "notebook") == str(run / "round-01/grpo/notebook.json")
    assert stages.option("round-02/rollouts", "seed") != stages.option("round-01/rollouts", "seed")
    assert stages.option("round-02/validation", "adapter") == str(run / "round-02/grpo/adapter")
    assert len({stages.option(f"{name}/validation", "seed") for name in ("start", "round-01", "round-02")}) == 1


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_the_shipped_configuration_gives_each_round_its_problems(make_loop: Any, tmp_path: Path, method: str) -> None:
    shipped = yaml.safe_load((CONFIGS / "run.yaml").read_text())
    stages, rollout = Stages([0.1, 0.2]), {"config": str(CONFIGS / "rollout.yaml")}
    grpo = {**shipped["grpo"], "config": str(CONFIGS / "grpo.yaml")}
    make_loop(stages, rounds=1, methods=[method], problems_per_round=5, rollout=rollout, grpo=grpo).run()
    if method == "dpo":
        words = stages.run["round-01/rollouts"]
        (args,) = parse_config([RolloutArguments], words[words.index("rollout") + 1 :], prog="test")
    else:
        words = [*stages.run["round-01/grpo"], "--use_cpu", "true"]
        start = words.index(str(ROOT / "train" / "grpo.py")) + 1
        args, *_ = parse_config([GrpoArguments], words[start:], prog="test", others=lambda: [ModelConfig, GRPOConfig])
    drawn = training_problems_from(args)
    assert [problem.task_id for problem in drawn] == [
        problem.task_id for problem in jsonl.load(tmp_path / "run" / "round-01" / "problems.jsonl", None)
    ]


def test_excluded_problems_are_in_no_round(make_loop: Any, tmp_path: Path) -> None:
    (tmp_path / "exclude.txt").write_text("t/0\nt/7\n")
    make_loop(Stages([0.1, 0.2]), rounds=1, exclude=str(tmp_path / "exclude.txt")).run()
    of_round = jsonl.load(tmp_path / "run/round-01/problems.jsonl", None)
    assert {problem.task_id for problem in of_round} == {f"t/{n}" for n in (1, 2, 3, 4, 5, 6, 8, 9)}


def test_what_nobody_took_down_is_taken_down_by_the_loop(make_loop: Any, tmp_path: Path) -> None:
    make_loop(Stages([0.1, 0.2]), rounds=1, methods=["rft"]).run()
    assert (tmp_path / "run/round-01/notebook.json").exists()


@pytest.mark.parametrize(
    ("methods", "notebooks"),
    [
        (["rft", "grpo"], {"grpo": "notebook.json"}),
        (["grpo", "rft"], {"grpo": "notebook.json"}),
        (["grpo", "dpo"], {"grpo": "", "dpo": "grpo/notebook.json"}),
        (["rft", "dpo"], {"dpo": ""}),
    ],
)
def test_in_any_order_of_methods_all_that_was_seen_is_in_the_notebook_once(
    make_loop: Any, tmp_path: Path, methods: list[str], notebooks: dict[str, str]
) -> None:
    stages = Stages([0.1, 0.2])
    make_loop(stages, rounds=1, methods=methods).run()
    for method, name in notebooks.items():
        wanted = str(tmp_path / "run/round-01" / name) if name else ""
        assert stages.option(f"round-01/{method}", "notebook") == wanted


def test_the_minutes_of_a_round_are_those_of_its_stages_whenever_they_ran(make_loop: Any, tmp_path: Path) -> None:
    with pytest.raises(StageFailedError):
        make_loop(Stages([0.1, 0.2], fails_at="round-02/rollouts"), rounds=2).run()
    lines = [json.loads(line) for line in (tmp_path / "run/stages.jsonl").read_text().splitlines()]
    seconds = {"round-01/rollouts": 100.0, "round-01/dpo": 20.0, "round-01/validation": 7.0}
    write_json_lines(tmp_path / "run/stages.jsonl", [{**one, "seconds": seconds.get(one["name"], 0)} for one in lines])
    make_loop(Stages([0.3]), rounds=2).run()
    rounds = json.loads((tmp_path / "run/summary.json").read_text())["rounds"]
    assert rounds[1]["seconds"] == 120.0


def test_a_problem_that_could_not_be_judged_ends_no_loop_and_is_told(make_loop: Any, tmp_path: Path) -> None:
    stages = Stages([0.1, 0.2])

    def with_a_loss(command: Sequence[str], directory: Path, name: str) -> None:
        stages(command, directory, name)
        if name == "round-01/validation":
            output = Path(stages.option(name, "output_dir"))
            report = EvalReport("mbpp", 3, 3, {}, {}, 1, {"1": "t/2 has only 0 scored samples"})
            (output / "report.json").write_text(json.dumps(to_json(report)))
            rows = [{"task_id": f"t/{n}", "index": 0, "passed": passed} for n, passed in enumerate((True, False, None))]
            write_json_lines(output / "verdicts.jsonl", rows)

    make_loop(with_a_loss, rounds=1).run()
    last = json.loads((tmp_path / "run/summary.json").read_text())["rounds"][-1]
    assert last["pass_at_1"]["value"] == 0.5
    assert last["alarms"] == ["validation: pass@1 is without 1 problems that could not be judged"]


def test_a_loop_that_failed_goes_on_behind_what_is_done(make_loop: Any, tmp_path: Path) -> None:
    first = Stages([0.1, 0.2], fails_at="round-02/dpo")
    with pytest.raises(StageFailedError):
        make_loop(first, rounds=2).run()
    second = Stages([0.5])
    make_loop(second, rounds=2).run()
    assert [*second.run] == ["round-02/dpo", "round-02/validation"]
    third = Stages([])
    make_loop(third, rounds=2).run()
    assert not third.run
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert [one["pass_at_1"]["value"] for one in summary["rounds"]] == [0.1, 0.2, 0.5]
    assert summary["best"] == "round-02"


def test_rounds_that_are_no_better_end_the_loop_and_the_best_adapter_stays(make_loop: Any, tmp_path: Path) -> None:
    stages = Stages([0.1, 0.5, 0.5, 0.4, 0.9])
    make_loop(stages, rounds=4, patience=2).run()
    assert "round-03/validation" in stages.run
    assert "round-04/rollouts" not in stages.run
    assert (tmp_path / "run/best_adapter").resolve() == tmp_path / "run/round-01/dpo/adapter"
    assert "| round-01 (best) | 0.500" in (tmp_path / "run/summary.md").read_text()


def test_what_a_stage_gave_alarm_of_is_in_the_summary_of_its_round(make_loop: Any, tmp_path: Path) -> None:
    stages = Stages([0.1, 0.2, 0.3])

    def with_alarms(command: Sequence[str], directory: Path, name: str) -> None:
        stages(command, directory, name)
        if name == "round-02/dpo":
            lines = [{"name": "compile_errors"}, {"name": "unscored"}, {"name": "compile_errors"}]
            write_json_lines(Path(stages.option(name, "output_dir")) / "alarms.jsonl", lines)

    make_loop(with_alarms, rounds=2).run()
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert [one["alarms"] for one in summary["rounds"]] == [[], [], ["dpo: compile_errors", "dpo: unscored"]]
    assert "| dpo: compile_errors, dpo: unscored |" in (tmp_path / "run/summary.md").read_text()


def test_without_patience_all_rounds_are_done(make_loop: Any) -> None:
    stages = Stages([0.5, 0.4, 0.3, 0.2])
    make_loop(stages, rounds=3, patience=0, methods=["grpo"]).run()
    assert "round-03/grpo" in stages.run
    assert not any(name.endswith("rollouts") for name in stages.run), "GRPO draws its own"


# Stages as processes.


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_stage_that_fails_is_told_with_its_command(tmp_path: Path) -> None:
    run_stage(script("pass"), tmp_path, "round-01/dpo")
    with pytest.raises(StageFailedError, match=r"round-01/dpo ended with 3; .*raise SystemExit"):
        run_stage(script("raise SystemExit(3)"), tmp_path, "round-01/dpo")
    assert not (tmp_path / "running.json").exists()


def test_who_asks_the_loop_to_stop_asks_its_stage(tmp_path: Path) -> None:
    stage = "import signal, sys, time, pathlib\n"
    stage += f"end = lambda *a: (pathlib.Path({str(tmp_path / 'saved')!r}).touch(), sys.exit(0))\n"
    stage += f"signal.signal(signal.SIGTERM, end); pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(60)"
    code = "import os, signal, threading, pathlib, time\nfrom train.stage_process import *\n"
    code += f"up = pathlib.Path({str(tmp_path / 'up')!r})\n"
    code += "def ask():\n    while not up.exists(): time.sleep(0.05)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    code += "threading.Thread(target=ask).start()\n"
    code += f"try: run_stage({script(stage)!r}, pathlib.Path({str(tmp_path)!r}), 'dpo')\n"
    code += "except LoopStoppedError as error: print(error.exit_code, error)\n"
    done = subprocess.run(script(code), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("143 stopped during dpo"), done.stdout + done.stderr
    assert (tmp_path / "saved").exists()
    assert LoopStoppedError("", signal.SIGTERM).exit_code == 143


@pytest.mark.parametrize("own_session", [False, True])
def test_what_a_killed_loop_left_running_is_ended_with_all_that_it_started(tmp_path: Path, own_session: bool) -> None:
    pids = tmp_path / "pids"
    child = "import time; time.sleep(60)"
    stage = "import os, subprocess, sys, time; "
    stage += f"c = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session={own_session}); "
    stage += f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{c.pid}} '); time.sleep(60)"
    code = f"import pathlib; from train.stage_process import *; run_stage({script(stage)!r}, "
    code += f"pathlib.Path({str(tmp_path)!r}), 'round-01/dpo')"
    host = subprocess.Popen(script(code), cwd=ROOT)
    assert eventually(lambda: pids.exists() and pids.read_text().endswith(" "))
    host.kill()
    host.wait()
    left = [int(pid) for pid in pids.read_text().split()]
    assert all(map(_runs, left))
    assert end_leftover(tmp_path) == "round-01/dpo"
    assert not any(map(_runs, left))
    assert end_leftover(tmp_path) is None


def test_a_stranger_with_the_number_of_a_stage_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(script("import time; time.sleep(60)"), start_new_session=True)
    left = {"mark": "of a stage before the reboot", "session": stranger.pid, "stage": "round-01/dpo"}
    (tmp_path / "running.json").write_text(json.dumps(left))
    assert end_leftover(tmp_path) is None
    assert _runs(stranger.pid)
    stranger.kill()
    stranger.wait()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


# The real thing.


def test_a_loop_that_is_killed_goes_on_with_the_same_command_and_the_policy_gets_better(
    tmp_path: Path, quickstart_run: Path
) -> None:
    validation = {
        "benchmark": "jsonl",
        "benchmark_file": str(quickstart_run / "problems" / "held_out.jsonl"),
        "num_samples": 4,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_completion_length": 100,
        "sandbox": "local",
    }
    command = [
        *(sys.executable, "-m", "rlcode.cli", "run", "--config", "configs/tiny/run.yaml"),
        *("--model", str(quickstart_run / "model"), "--output_dir", str(tmp_path / "run"), "--rounds", "1"),
        *("--benchmark_file", str(quickstart_run / "problems" / "train.jsonl"), "--problems_per_round", "60"),
        *("--methods", "rft", "dpo", "--dpo", json.dumps({"config": "configs/tiny/dpo.yaml", "num_pairs": 64})),
        *("--validation", json.dumps(validation)),
    ]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    killed = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    rollouts = tmp_path / "run" / "round-01" / "rollouts"
    assert eventually(lambda: any(rollouts.glob("rollouts*")) or killed.poll() is not None, 240)
    time.sleep(0.5)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    stages = [json.loads(line)["name"] for line in (tmp_path / "run" / "stages.jsonl").read_text().splitlines()]
    assert stages == ["start/validation", *(f"round-01/{name}" for name in ("rollouts", "rft", "dpo", "validation"))]
    start, end = json.loads((tmp_path / "run" / "summary.json").read_text())["rounds"]
    assert end["pass_at_1"]["low"] > start["pass_at_1"]["high"]
    assert (tmp_path / "run" / "best_adapter" / "adapter_model.safetensors").exists()
    assert "round-01 (best)" in (tmp_path / "run" / "summary.md").read_text()
    page = build_page(tmp_path / "run")
    assert f"pass@1, round-01: {end['pass_at_1']['value']:.1%} [" in page
    assert "different pairs of those that DPO drew" in page
    assert "has no log" not in page


# What is tried before.


def test_a_dry_run_tries_each_stage_with_its_own_options_and_the_loops() -> None:
    args = arguments(
        methods=["rft", "grpo"],
        adapter="a",
        benchmark_file="p.jsonl",
        accelerate_config="z.yaml",
        rft={"lora_r": 8},
        validation={"benchmark": "mbpp", "greedy": True},
    )
    tried = dict(trial_commands(args))
    assert list(tried) == ["rollouts", "rft", "grpo", "validation"]
    for words in tried.values():
        assert words[words.index("--adapter") + 1] == "a"
    assert tried["rollouts"][1:4] == ["-m", "train.dry_run", "rollout"]
    for method, script in {"rft": "sft.py", "grpo": "grpo.py"}.items():
        words = tried[method]
        assert words[words.index("--config_file") + 1] == "z.yaml"
        assert script in " ".join(words)
        assert words[words.index("--dry_run") + 1] == "true"
    assert tried["rft"][tried["rft"].index("--lora_r") + 1] == "8"
    assert "p.jsonl" in tried["grpo"]
    assert "p.jsonl" not in tried["rft"]
    assert "--greedy" in tried["validation"]


def test_full_finetuning_is_refused_before_the_first_stage() -> None:
    with pytest.raises(ConfigError, match="full_finetuning has none"):
        check_stages(arguments(methods=["rft"], rft={"full_finetuning": True}))


def test_an_engine_that_can_not_take_the_adapter_of_a_stage_is_refused_before_the_first_one() -> None:
    dora = arguments(methods=["rft"], rft={"use_dora": True}, rollout={"engine": "vllm"})
    with pytest.raises(ConfigError, match="rollout: vLLM does not serve the DoRA adapter of rft"):
        check_stages(dora)
    check_stages(
        arguments(methods=["rft"], rft={"use_dora": True}, rollout={"engine": "vllm", "engine_sync": "merged"})
    )
