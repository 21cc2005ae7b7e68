"""A shuffled order of any number of things, one place at a time: nothing is stored."""

from __future__ import annotations

import numpy as np

_ROUNDS = 6
_MASK = (1 << 64) - 1


class KeyedPermutation:
    """The numbers from 0 to `size` - 1 in an order that the key decides; `permutation[i]` is the i-th of them.

    A Feistel network over the next power of four, walked along its cycle until it is back in range (Black and Rogaway,
    2002): each number comes exactly once, in constant memory.
    """

    def __init__(self, size: int, key: tuple[int, ...]) -> None:
        if size < 1:
            raise ValueError("there is nothing to permute")
        self.size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._keys = [int(k) for k in np.random.SeedSequence(key).generate_state(_ROUNDS, np.uint64)]

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self.size:
            raise IndexError(f"there is no place {place} among {self.size}")
        number = self._encrypt(place)
        while number >= self.size:
            number = self._encrypt(number)
        return number

    def _encrypt(self, number: int) -> int:
        mask = (1 << self._half) - 1
        left, right = number >> self._half, number & mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right + key) & mask)
        return left << self._half | right


class Passes:
    """The numbers from 0 to `size` - 1 over and over; each pass over them has an order of its own."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._seed = seed
        self._last = (-1, KeyedPermutation(size, (seed,)))

    def __getitem__(self, position: int) -> int:
        number, place = divmod(position, self.size)
        if number != self._last[0]:
            self._last = (number, KeyedPermutation(self.size, (self._seed, number)))
        return self._last[1][place]


def _mix(x: int) -> int:
    """SplitMix64's finaliser (Steele et al., 2014)."""
    x &= _MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & _MASK
    return x ^ x >> 31
