"""When a progressive strategy practises which error types: each has a window of the run's draws."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sampling.snapshots import Snapshot
from sampling.strategies.frequency import type_frequencies
from sampling.strategies.mixture import Groups, Part
from sampling.strategies.options import Order
from sampling.strategies.shares import bounded_shares

_TIED = 1e-9
"""Frequencies are equal where they differ by less than this share of themselves: they are sums of floats."""


@dataclass(frozen=True)
class Window:
    """The draws from `start` up to `stop`, and the error types, as groups, that are practised in them."""

    start: int
    stop: int
    types: tuple[int, ...]


def plan_windows(types: Groups, stages: Sequence[tuple[Snapshot, Order]], length: int) -> tuple[Window, ...]:
    """All windows of a run of `length` draws, as the snapshots so far have it, each with the order then asked for.

    Each type has one window, in the order of the frequencies in the notebook; types that are equally frequent share
    theirs. A window is as long as its types' share of the pool's failures, so that in the windows together each failure
    is drawn as often as any other and only the order is chosen; but it has at least a draw for each of its types, if
    there are as many draws.

    A new snapshot changes no window that was begun before it: that one goes on to its end, and its types are not
    visited again. The others are ordered anew.
    """
    windows: tuple[Window, ...] = ()
    for snapshot, order in stages:
        begun = tuple(window for window in windows if window.start < snapshot.from_position)
        visited = {group for window in begun for group in window.types}
        ahead = [group for group in range(len(types)) if group not in visited]
        tied = _tied(ahead, type_frequencies(types, snapshot.notebook))
        tied = tied if order == "low_to_high" else tied[::-1]
        windows = begun + _lay_out(tied, types, begun[-1].stop if begun else 0, length)
    return windows


def _tied(groups: Sequence[int], frequencies: np.ndarray) -> list[tuple[int, ...]]:
    """The groups from rare to frequent, those together that are equally frequent."""
    tied: list[tuple[int, ...]] = []
    for group in sorted(groups, key=lambda group: (frequencies[group], group)):
        if tied and frequencies[group] <= frequencies[tied[-1][-1]] * (1 + _TIED):
            tied[-1] += (group,)
        else:
            tied.append((group,))
    return tied


def _lay_out(tied: Sequence[tuple[int, ...]], types: Groups, start: int, length: int) -> tuple[Window, ...]:
    draws, ahead = length - start, [group for together in tied for group in together]
    if not draws or not ahead:
        return ()
    least = 1 / draws if len(ahead) <= draws else 0.0
    quotas = dict(zip(ahead, draws * bounded_shares(types.sizes[ahead].astype(float), floor=least), strict=True))
    ends = itertools.accumulate(sum(quotas[group] for group in together) for together in tied)
    # half up, and a little more so that rounding errors take no window its only draw
    borders = [start, *(start + int(end + 0.5 + 1e-9) for end in ends)]
    windows = zip(itertools.pairwise(borders), tied, strict=True)
    return tuple(Window(first, last, together) for (first, last), together in windows if last > first)


def parts_by_window(
    windows: Sequence[Window], make_parts: Callable[[Window], Sequence[Part]]
) -> Callable[[int], Sequence[Part]]:
    """Gives the parts of the mixture at a position, which change with its window."""
    starts, parts = [window.start for window in windows], [make_parts(window) for window in windows]
    return lambda position: parts[bisect.bisect_right(starts, position) - 1]


def window_weights(types: Groups, window: Window) -> np.ndarray:
    """Uniform over the failures of the window's types."""
    return np.where(np.isin(np.arange(len(types)), window.types), types.sizes, 0)
