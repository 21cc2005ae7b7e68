"""How much time a program took: the processor time of all its processes, and the time in which it was blocked.

The time in which it could run and waited for a core does not count, so a busy machine changes no verdict. Nor does the
time for which the judge itself waited for a core after an answer had woken it; nor, up to once the limit, that in which
the machine held the program up (it waited for a disk or a page of memory, or its core was taken from under it) or in
which the judge waited for a core and an answer came at a moment that nobody saw. The kernel forgets how long a process
was delayed when that ends, so a program that runs for longer than a part of its limit is looked at again and again.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

_TICK = os.sysconf("SC_CLK_TCK")
_GUARD_FACTOR, _GUARD_S = 10, 30.0
_SHORTEST_STEP_S = 0.01
_LOOKS = 40
"""Looks at a program that takes its whole limit on an idle machine."""
_LOST_FACTOR, _MOST_DELAY = 3.0, 30.0
"""Where nobody saw it, a second of processor time is believed to have brought so many times the delay that was seen
elsewhere, and at most so many seconds."""


@dataclass(frozen=True)
class _Task:
    """A thread of the program."""

    used_s: float
    """Processor time."""
    delayed_s: float
    """Time in which it could run and waited for a core, up to when it last got one."""
    runs: bool
    """Whether it runs or could run."""
    is_stuck: bool = False
    """Whether it waits for a disk or for memory, and no signal could wake it."""


class Clock:
    """Counts one program's time. `root` is the first process of the fork server, and `generations` of processes from it
    on are no program's: what their children used is the time of all programs so far and says nothing of this one."""

    def __init__(self, limit_s: float, root: int, generations: int = 1) -> None:
        self._limit_s = limit_s
        self._root = root
        self._generations = generations
        self._longest_step_s = max(limit_s / _LOOKS, _SHORTEST_STEP_S)
        self._next_look_s = 2 * self._longest_step_s
        self._seen: dict[int, _Task] = {}
        self._at_ease_s: dict[int, float] = {}  # when a thread last slept or had got further
        self._running: set[int] = set()
        self._used_s = 0.0
        self._reaped_s = 0.0
        self._lost_s = 0.0
        self._open_s = 0.0
        self._held_up_s = 0.0
        self._delayed_s = 0.0
        self._delay_so_far_s = 0.0
        self._unborn_s = 0.0
        self._looked_s = 0.0
        self._own_delay_s: float | None = None
        self._since = 0.0
        self.waited_s = 0.0
        """How long the judge waited for the program."""

    def resume(self) -> None:
        """From now on the judge waits for the program."""
        self._since = time.monotonic()

    def tick(self, *, answered: bool) -> None:
        """The judge waited until now, and goes on. `answered`: the program, or its end, woke it."""
        now, meant_to_wait_s = time.monotonic(), self.step_s
        waited_s = now - self._since
        self.waited_s += waited_s
        self._since = now
        if self._own_delay_s is not None:  # for those that are soon done it comes to nothing
            before, self._own_delay_s = self._own_delay_s, _own_delay()
            delay_s = self._own_delay_s - before
            if answered and waited_s - delay_s < meant_to_wait_s:
                self._delayed_s += delay_s
            elif answered:  # its time to look woke the judge, and the answer came while it waited for a core
                self._held_up_s += delay_s

    @property
    def step_s(self) -> float:
        """How long to wait before `is_over` is to be asked."""
        return max(self._next_look_s - self.waited_s, _SHORTEST_STEP_S)

    def is_over(self) -> bool:
        """Whether the program has used its time up."""
        if self.waited_s < self._next_look_s:
            return False
        if self.waited_s > _GUARD_FACTOR * self._limit_s + _GUARD_S:
            return True
        self._look()
        left = self._limit_s - self.consumed_s()
        self._next_look_s = self.waited_s + min(max(left, _SHORTEST_STEP_S), self._longest_step_s)
        return left <= 0

    def consumed_s(self, cpu_s: float = 0.0) -> float:
        """The time that the program took so far. `cpu_s`: processor time that it is known to have used."""
        held_up_s = min(max(self._held_up_s, 0.0), self._limit_s)
        delayed_s = self._delayed_s + self._delay_so_far_s + self._lost_delay_s() + held_up_s
        return max(cpu_s, self._used_s, self.waited_s - self._unborn_s - delayed_s)

    def _look(self) -> None:
        """Take stock. Time that is neither use nor a known delay stays open while the program could run: when what
        could run is gone, it has taken the answer with it."""
        tasks, reaped_s, age_s = _tasks_below(self._root, self._generations)
        if not self._seen:
            self._unborn_s = self._looked_s = max(self.waited_s - age_s, 0.0)
        gone = not self._running <= tasks.keys() or reaped_s > self._reaped_s
        counted_s, delay_so_far_s = self._used_s + self._delayed_s, self._delay_so_far_s
        self._note_delays(tasks)
        self._seen |= tasks
        self._reaped_s = reaped_s
        self._used_s = max(sum(task.used_s for task in tasks.values()) + reaped_s, self._seen_s())
        open_s = self.waited_s - self._looked_s - (self._used_s + self._delayed_s - counted_s)
        if self._is_held_up(tasks):
            self._held_up_s += open_s - (self._delay_so_far_s - delay_so_far_s)
        else:
            self._open_s = max(self._open_s + open_s, 0.0)
        self._running = {number for number, task in tasks.items() if task.runs}
        if gone:
            self._lost_s += self._open_s
        if gone or not self._running:
            self._open_s = 0.0
        self._looked_s = self.waited_s
        if self._own_delay_s is None:
            self._own_delay_s = _own_delay()

    def _is_held_up(self, tasks: dict[int, _Task]) -> bool:
        """Whether it is the machine that takes the program's time: nothing of it sleeps, and what is not stuck has been
        running since the last look."""
        running = self._running
        return bool(tasks) and all(task.is_stuck or (task.runs and number in running) for number, task in tasks.items())

    def _note_delays(self, tasks: dict[int, _Task]) -> None:
        new = _Task(0.0, 0.0, runs=True)
        fresh = [task.delayed_s - self._seen.get(number, new).delayed_s for number, task in tasks.items()]
        if fresh:  # several threads may have waited at once, each of them since long before the last look
            self._delayed_s += min(sum(fresh), max(self.waited_s - self._looked_s, *fresh))
        for number, task in tasks.items():
            if not task.runs or task.used_s != self._seen.get(number, new).used_s:
                self._at_ease_s[number] = self.waited_s
        # The kernel counts a delay when it is over.
        stalled = (self._at_ease_s.get(number, self._looked_s) for number, task in tasks.items() if task.runs)
        self._delay_so_far_s = self.waited_s - min(stalled, default=self.waited_s)

    def _seen_s(self) -> float:
        return sum(task.used_s for task in self._seen.values())

    def _lost_delay_s(self) -> float:
        """How much of what nobody saw was the delay of children that ended: more of it, the more processor time they
        used and the longer the others waited for theirs. What a parent does not wait for can't be known."""
        seen_s = self._seen_s()
        ratio = _LOST_FACTOR * self._delayed_s / seen_s if seen_s else 0.0
        return min(self._lost_s, self._reaped_s * min(ratio, _MOST_DELAY))


def _tasks_below(root: int, generations: int) -> tuple[dict[int, _Task], float, float]:
    """The threads of all processes below the first generations, by their numbers; the processor time of those children
    that they waited for, in seconds; seconds since the first of them began."""
    tasks: dict[int, _Task] = {}
    reaped_s = age_s = 0.0
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    for pid in descendants(root, generations):
        stat = _stat(pid)
        if stat is not None:
            tasks.update(_threads(pid))
            reaped_s += (int(stat[13]) + int(stat[14])) / _TICK
            age_s = max(age_s, now - int(stat[19]) / _TICK)
    return tasks, reaped_s, age_s


def descendants(root: int, generations: int) -> Iterator[int]:
    """All processes that come from `root`, but for those of the first generations; its own is the first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat is not None:
                children.setdefault(int(stat[1]), []).append(int(name))
    generation, number = [root], 0
    while generation:
        if number >= generations:
            yield from generation
        generation, number = [child for pid in generation for child in children.get(pid, ())], number + 1


def _stat(pid: int | str) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on, None where there is no such process (any more)."""
    text = _read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if text else None


def _threads(pid: int) -> Iterator[tuple[int, _Task]]:
    try:
        numbers = os.listdir(f"/proc/{pid}/task")
    except OSError:  # it has ended
        return
    for number in numbers:
        place = f"{pid}/task/{number}"
        counts, stat = _read(f"/proc/{place}/schedstat").split(), _stat(place)
        if len(counts) == 3 and stat:
            state = stat[0]
            yield int(number), _Task(int(counts[0]) / 1e9, int(counts[1]) / 1e9, state == "R", state == "D")


def _own_delay() -> float:
    """Seconds that this process waited for a core so far."""
    fields = os.pread(_own_schedstat(), 100, 0).split()
    return int(fields[1]) / 1e9


@functools.cache
def _own_schedstat() -> int:
    return os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # the process has ended, or is not ours to see
        return ""
