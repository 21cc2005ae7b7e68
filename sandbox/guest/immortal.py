"""Makes what exists now immortal: the interpreter then counts no references to it, where it knows such objects.

A process that is forked later shares the pages of these objects. Otherwise it has to copy each page on which it merely
looks at one, since that changes a count there, and so has its parent; two thirds of all pages that a short program
copies are copied for that.

CPython 3.12 and later mark an object as immortal by a special count (PEP 683) and offer no call that sets it, so it is
written there as `None` bears it. Whether that means anything to this interpreter is tried first, on an object that is
made for it; one that counts on, such as CPython 3.11, is left as it is.
"""

from __future__ import annotations

import ctypes
import gc
import types
from collections.abc import Iterable

_Count = ctypes.c_uint32
"""The part of an object's head that the interpreter looks at; it lies at the object's address."""
_PARTS_OF_CODE = (
    "co_consts",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_name",
    "co_qualname",
    "co_filename",
    "co_linetable",
    "co_exceptiontable",
)
"""The collector is not told what code objects refer to."""


def freeze() -> int:
    """Make all that the garbage collector knows, and what that refers to, immortal; how many objects that were."""
    if not _is_understood():
        return 0
    made = 0
    fresh = _make_immortal(gc.get_objects())
    while fresh:
        made += len(fresh)
        code = [part for one in fresh if type(one) is types.CodeType for part in _parts(one)]
        fresh = _make_immortal([*gc.get_referents(*fresh), *code])
    return made


def _make_immortal(objects: Iterable[object]) -> list[object]:
    """Those of them that were not immortal before."""
    immortal = _Count.from_address(id(None)).value
    fresh = []
    for one in objects:
        count = _Count.from_address(id(one))
        if count.value != immortal:
            count.value = immortal
            fresh.append(one)
    return fresh


def _parts(code: types.CodeType) -> Iterable[object]:
    return (getattr(code, name) for name in _PARTS_OF_CODE)


def _is_understood() -> bool:
    """Whether an object with the count of `None` keeps it, however many references there are to it."""
    if object.__basicsize__ != 2 * ctypes.sizeof(ctypes.c_void_p):  # without a global lock the head is another one
        return False
    probe = [object()]
    count = _Count.from_address(id(probe[0]))
    before = count.value
    immortal = count.value = _Count.from_address(id(None)).value
    probe += probe * 3
    if count.value == immortal:
        return True
    count.value = before + 3
    return False
