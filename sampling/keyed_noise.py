"""Gumbel noise that belongs to a sample: a hash of its seed, the position and the token id, so that a completion does
not depend on which others it is drawn with."""

from __future__ import annotations

import torch

# SplitMix64 (Steele et al., 2014), as signed 64-bit constants because torch has no unsigned arithmetic
_GAMMA = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


def gumbel_noise(seeds: torch.Tensor, position: int, like: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise (batch, vocabulary), a pure function of each row's seed, the position and the token id."""
    tokens = torch.arange(like.shape[1], device=like.device)
    rows = _mix(seeds + torch.full_like(seeds, position + 1) * _GAMMA)
    bits = _mix(rows[:, None] + _GAMMA * (tokens[None, :] + 1))
    uniform = _shift_right(bits, 11).float().add_(0.5).mul_(2.0**-53)
    # an exponential variate from log1p keeps the precision of small ones, where the large Gumbels come from
    exponential = torch.log1p(uniform.neg_()).neg_().clamp_(max=50.0)
    return exponential.log_().neg_()


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical shift; torch's is arithmetic
