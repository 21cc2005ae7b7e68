"""Configuration is strict: what is not known or not of the type is refused, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcode.cli import run_main
from rlcode.config import parse_config
from rlcode.errors import ConfigError
from sampling.arguments import RolloutArguments


def parse(*argv: str) -> RolloutArguments:
    (arguments,) = parse_config([RolloutArguments], list(argv), prog="test")
    return arguments


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return str(path)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path):
    file = config(tmp_path, "temperature: 0.5\nnum_generations: 4\n")
    arguments = parse("--config", file, "--num_generations", "9")
    assert (arguments.temperature, arguments.num_generations, arguments.top_p) == (0.5, 9, 1.0)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"run\.yaml: unknown key 'temprature'; did you mean 'temperature'\?"):
        parse("--config", config(tmp_path, "temprature: 0.5\n"))


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="--temprature; did you mean '--temperature'"):
        parse("--temprature", "0.5")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("num_generations: many", "num_generations must be int, got 'many'"),
        ("num_generations: [1, 2]", "num_generations takes one value"),
        ("num_generations: null", "num_generations must have a value; its default is 8"),
        ("num_generations: 0", "num_generations must be at least 1"),
        ("benchmark: {a: 1}", "benchmark takes one value, got a mapping"),
        ("temperature: -1", "temperature must not be negative"),
        ("engine: sglang", "engine must be one of transformers, vllm"),
        ("- a list", "must hold a mapping"),
        ("key: [unclosed", "can't be read"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, line: str, message: str):
    with pytest.raises(ConfigError, match=message):
        parse("--config", config(tmp_path, line + "\n"))


def test_a_wrong_value_on_the_command_line_is_refused():
    with pytest.raises(ConfigError, match="num_generations"):
        parse("--num_generations", "many")


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        parse("--config", "nowhere.yaml")


def test_a_configuration_error_ends_a_command_with_exit_code_2(tmp_path: Path, capsys):
    file = config(tmp_path, "temprature: 0.5\n")
    assert run_main(lambda argv: int(bool(parse(*argv))), ["--config", file]) == 2
    assert "unknown key 'temprature'" in capsys.readouterr().err


def test_numbers_in_scientific_notation_without_a_dot_are_numbers(tmp_path: Path):
    assert parse("--config", config(tmp_path, "temperature: 1e-3\n")).temperature == pytest.approx(0.001)
