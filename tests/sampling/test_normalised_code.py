"""What counts as the same program."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling.normalised_code import MAX_LENGTH, normalise

PROGRAM = "def f(x):\n    y = x\n    return y"


@pytest.mark.parametrize(
    "same",
    [
        PROGRAM + "\n",
        "\n\n" + PROGRAM,
        "# what it does\n" + PROGRAM + "\n# the end",
        "def f(x):  # a comment\n    y = x   \n\n\t \n    # another\n    return y",
        PROGRAM.replace("\n", "\r\n"),
        PROGRAM.replace("\n", "\r"),
    ],
)
def test_comments_empty_lines_and_blanks_at_the_end_of_a_line_are_no_matter(same: str):
    assert normalise(same) == PROGRAM


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 'a # b'", "x = 'a # c'"),
        ("x = '''a\n\nb'''", "x = '''a\nb'''"),
        ('x = """a  \nb"""', 'x = """a\nb"""'),
        ("x = '\\'# a'", "x = '\\'# b'"),
        ("x = 1 + \\\n 2", "x = 1 + \\ \n 2"),
        ("if x:\n  y", "if x:\n y"),
        ("x = 'a' 'b'", "x = 'a'  'b'"),
        ("x = y", "x = y\u00a0"),
        ("x = 1", "x = 2"),
    ],
)
def test_what_may_make_a_difference_stays(one: str, other: str):
    assert normalise(one) != normalise(other)


LINES = [
    "x = 1",
    "x = 1  # one",
    "# a comment",
    "",
    "  \t",
    "s = '# none'  ",
    's = "\\"# none" # one',
    'def f():\n    """Doc # none\n\n      \n    """  # one\n\n    return 1  ',
    "t = '''a\n# none\n'''",
    "if x:\n    # why\n\n    y = (1,  # one\n\n         2)",
    "z = 1 + \\\n    2  ",
    "e = ''  # 'empty'",
    "r = r'\\\\'  # one",
]


@given(st.lists(st.sampled_from(LINES), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_a_program_means_the_same_as_before(lines: list[str], newline: str):
    source = newline.join(lines)
    assert ast.dump(ast.parse(normalise(source))) == ast.dump(ast.parse(source))
    assert "# one" not in normalise(source)


@given(st.text(alphabet=" \t\f\n\r\\#\"'ab", max_size=40))
def test_any_text_is_taken_and_a_second_time_changes_nothing(text: str):
    once = normalise(text)
    assert normalise(once) == once
    assert not set(once) - set(text.replace("\r", "\n"))


@pytest.mark.parametrize(
    "hostile", ['"""\\', "' ", " " * 50 + "\n", "\\", "'''", " ", "#\n", "\n \n x", "\"'", "\\\n "]
)
def test_a_hostile_text_is_done_before_anyone_waits_for_it(hostile: str):
    normalise((hostile * MAX_LENGTH)[:MAX_LENGTH])  # minutes, if any of it were looked at again and again


def test_an_endless_program_is_left_as_it_is():
    source = "x = 1  # one\n" * MAX_LENGTH
    assert normalise(source) is source
