# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# torch is in the trainers' environment, where no type checker runs.
"""Tokens that a published rule marks: what Guide and SPEAR say of the loss, and nothing of TRL's.

Guide (Nath et al. 2025; vaskar-open-source-research/guide_rl, core_algos.py). Tokens that were
drawn under a hint which their prompt no longer holds count by r / (r + g) in place of their ratio
r. g is the 90th percentile of such ratios in the device batch, at least 1e-4, and carries no
gradient; nothing is clipped.

SPEAR (Qin et al. 2025; TencentYoutuResearch/SPEAR, core_algos.py). The loss of replayed rows is
scaled by a weight that the export names, and of its tokens some are left out whose covariance

    (log p - mean of log p) * (A - mean of A)

with means over the replayed tokens of the device batch, lies between 2 and 60: at random as many
as 2 % of all replayed tokens, one at least, and none that the clip holds already, as the release
has it. What is left out still counts among the tokens that the loss is divided by. We differ in
three things. The draw depends on seed, step and row alone, where the release asks the process's
generator: a training that was killed goes on with the same draws. Replayed rows share a step with
others, where the release takes one of their own after it. And the turn bonus is not added to
rewards, which are the evaluator's; those lie in [0, 1] here and went up to 10 where the band was
chosen, so that few tokens reach it.
"""

from __future__ import annotations

import hashlib

import torch

PERCENTILE = 0.9
LEAST = 1e-4
"""Guide's: of hinted ratios, and what it is at least."""
LOW, HIGH = 2.0, 60.0
"""SPEAR's band of covariance, both ends without."""
SHARE = 0.02
"""Of replayed tokens, how many are left out at most."""
_MOST = 700.0
"""A logarithm whose exponential is still a number."""


def guide_gamma(log_ratios: torch.Tensor, hinted: torch.Tensor) -> torch.Tensor:
    """Guide's g, one number without gradient.

    Args:
        log_ratios: log p under the weights without the hint, less what was recorded under it.
        hinted: which tokens count, of the same shape; at least one.
    """
    ratios = log_ratios.detach()[hinted].double().clamp(max=_MOST).exp()
    return ratios.quantile(PERCENTILE).clamp(min=LEAST)


def guide_ratios(log_ratios: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """Of each token r / (r + g), as a sigmoid, which holds where r is too large to be a number."""
    return torch.sigmoid(log_ratios - gamma.log())


def covariances(
    logps: torch.Tensor, advantages: torch.Tensor, replayed: torch.Tensor
) -> torch.Tensor:
    """Of each token; what it is of a token that is not replayed means nothing.

    Args:
        logps: under the weights.
        advantages: of each token, before any weight.
        replayed: which tokens the means are over; at least one.
    """
    logps = logps.detach().float()
    return (logps - logps[replayed].mean()) * (advantages - advantages[replayed].mean())


def left_out(
    covariance: torch.Tensor, held: torch.Tensor, replayed: torch.Tensor, lots: torch.Tensor
) -> torch.Tensor:
    """Which replayed tokens have no part in the loss.

    Args:
        covariance: see `covariances`.
        held: those that the clip holds already.
        replayed: those that it is about.
        lots: a number for each token; of those in the band the smallest are drawn.
    """
    band = replayed & ~held & (covariance > LOW) & (covariance < HIGH)
    most = max(int(SHARE * int(replayed.sum())), 1)
    order = lots.masked_fill(~band, torch.inf).flatten().argsort(stable=True)
    found = torch.zeros_like(band)
    found.view(-1)[order[:most]] = True
    return found & band


def lots(seed: int, step: int, row: int, tokens: int) -> list[float]:
    """One draw for each token of a row, the same wherever in a batch the row comes to lie.

    Args:
        seed: of the training.
        step: of the training, from 0.
        row: its number in the data.
        tokens: of its completion.
    """
    name = hashlib.sha256(f"replayed {seed} {step} {row}".encode()).digest()
    draws = torch.Generator().manual_seed(int.from_bytes(name[:7], "big"))
    return torch.rand(tokens, generator=draws).tolist()
