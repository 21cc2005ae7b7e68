"""Strict configuration: dataclasses filled from a YAML file and the command line, through TRL's parser.

Unknown keys and values of the wrong type are errors that name the key, the file and the nearest known name.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rlcode.errors import ConfigError


def parse_config(
    own: Sequence[type], argv: list[str], *, prog: str, others: Callable[[], Sequence[type]] = tuple
) -> tuple[Any, ...]:
    """Fill the dataclasses `own` and those that `others()` returns from `argv`.

    `--config FILE` names a YAML mapping; the command line wins over it. `--help` prints our own fields at once;
    `--help_all` prints those of the libraries too (which takes their import). `others` is called only when needed.

    Returns:
        One instance for each class: first `own`, then `others`.
    Raises:
        ConfigError: an unknown key, a value of the wrong type, a missing one, an unreadable file.
    """
    argv = [part for word in argv for part in _split_config(word)]
    if "-h" in argv or "--help" in argv:
        print(_own_help(own, prog, has_others=others is not tuple), flush=True)
        raise SystemExit(0)
    from trl import TrlParser

    parser = TrlParser([*own, *others()], prog=prog)
    parser.error = _refuse  # argparse would print the usage of every TRL field and exit
    if "--help_all" in argv:
        parser.print_help()
        raise SystemExit(0)
    _check_command_line(argv, parser)
    if "--config" in argv:
        path = _config_path(argv)
        _check_file(read_yaml(path), parser, path)
    try:
        return tuple(parser.parse_args_and_config(argv))
    except (ValueError, argparse.ArgumentError) as error:
        raise ConfigError(f"{prog}: {error}") from error


def finite_number(name: str, value: Any) -> float:
    """`value` as a float, where it is a number.

    Raises:
        ConfigError: it is none, or not a finite one; `name` says whose it is.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a number, got {value!r}")
    return float(value)


def _split_config(word: str) -> list[str]:
    """TRL's parser knows `--config FILE` alone."""
    return word.split("=", 1) if word.startswith("--config=") else [word]


def _refuse(message: str) -> NoReturn:
    raise ConfigError(message)


def _own_help(own: Sequence[type], prog: str, *, has_others: bool) -> str:
    lines = [f"usage: {prog} --config FILE.yaml [--any_field value]", ""]
    for cls in own:
        lines.append(f"{cls.__name__}:")
        for field in dataclasses.fields(cls):
            lines.append(f"  --{field.name:<23} {field.metadata.get('help', '')} [{_default(field)}]")
    if has_others:
        lines += ["", "--help_all shows the fields of TRL's own configuration too."]
    return "\n".join(lines)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "required" if field.default is dataclasses.MISSING else repr(field.default)


def _config_path(argv: list[str]) -> Path:
    position = argv.index("--config") + 1
    if position == len(argv):
        raise ConfigError("--config needs a file")
    return Path(argv[position])


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: it can't be read, or holds something else.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"configuration file {path} can't be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"configuration file {path} must hold a mapping of keys to values")
    return data


def written_values(argv: Sequence[str]) -> dict[str, Any]:
    """What the `--config` file and the command line say, the latter winning, before anything is checked. An option that
    stands alone has the value None."""
    words = [part for word in argv for part in word.split("=", 1)]
    line = {
        word.removeprefix("--"): None if following is None or following.startswith("--") else following
        for word, following in zip(words, [*words, None][1:], strict=True)
        if word.startswith("--")
    }
    file = line.get("config")
    return {**(read_yaml(Path(file)) if file else {}), **line}


def _check_command_line(argv: list[str], parser: argparse.ArgumentParser) -> None:
    known = {*parser._option_string_actions, "--config"}
    for word in argv:
        name = word.partition("=")[0]
        if word.startswith("--") and name not in known:
            raise ConfigError(f"unknown option {name}{_suggestion(name, known)}")


def _check_file(data: dict[str, Any], parser: argparse.ArgumentParser, path: Path) -> None:
    actions = {action.dest: action for action in parser._actions}
    for key, value in data.items():
        if key == "env":
            continue
        if key not in actions:
            raise ConfigError(f"{path}: unknown key {key!r}{_suggestion(str(key), actions)}")
        _check_value(key, value, actions[key], path)


def _check_value(key: str, value: Any, action: argparse.Action, path: Path) -> None:
    if value is None:
        if action.default is not None:
            raise ConfigError(f"{path}: {key} must have a value; its default is {action.default!r}")
        return
    if isinstance(value, dict):
        if action.choices is not None or action.type in (int, float) or isinstance(action.default, str):
            raise ConfigError(f"{path}: {key} takes one value, got a mapping")
        return
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) and action.nargs not in ("+", "*"):
        raise ConfigError(f"{path}: {key} takes one value, got a list")
    if not isinstance(value, list) and action.nargs in ("+", "*"):
        raise ConfigError(f"{path}: {key} takes a list, got {value!r}; write [{value}]")
    for item in items:
        _check_item(key, item, action, path)


def _check_item(key: str, item: Any, action: argparse.Action, path: Path) -> None:
    if action.type is not None and callable(action.type):
        try:
            item = action.type(str(item))
        except (ValueError, TypeError, argparse.ArgumentTypeError):
            name = getattr(action.type, "__name__", str(action.type))
            raise ConfigError(f"{path}: {key} must be {name}, got {item!r}") from None
    if action.choices is not None and item not in action.choices:
        raise ConfigError(f"{path}: {key} must be one of {', '.join(map(str, action.choices))}; got {item!r}")


def _suggestion(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
