"""How fast a success rate is changing, in either direction.

Learning progress after Oudeyer and Kaplan, in the discrete form that ALP-GMM's absolute
learning progress (Portelas et al. 2019) takes for categories: it compares two halves of a
window of recent outcomes. Forgetting counts as much as learning, since both call for practice.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.errors import UsageError


def learning_progress(
    outcomes: Sequence[bool], *, window: int = 8, minimum: int | None = None
) -> float | None:
    """`|mean of the newer half - mean of the older half|` of the last `window` outcomes.

    Args:
        outcomes: Oldest first.
        window: How many of the newest outcomes are compared; even, at least 2.
        minimum: The smallest window that will do where there are fewer outcomes: the window
            then is the largest even number of them. None asks for the whole window.

    Returns:
        A number in [0, 1]; None where there are too few outcomes.

    Raises:
        UsageError: `window` is odd or below 2, or `minimum` is below 2 or above `window`.
    """
    least = window if minimum is None else minimum
    if window < 2 or window % 2:
        raise UsageError(f"A window is an even number of at least 2, and {window} is not.")
    if not 2 <= least <= window:
        raise UsageError(f"The smallest window lies between 2 and {window}, and {least} does not.")
    half = min(window, len(outcomes)) // 2
    if 2 * half < least:
        return None
    older = sum(outcomes[-2 * half : -half])
    newer = sum(outcomes[-half:])
    return abs(newer - older) / half
