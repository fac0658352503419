"""What verdicts share: their three states, and how people are weighed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROUNDING", "STATES", "Weights"]

Floats = NDArray[np.float64]

STATES = ("covered", "uncovered", "unknown")
ROUNDING = 1e-9  # minutes and shares are sums of floats


@dataclass(frozen=True, eq=False)
class Weights:
    """How much each demand point counts: its residents, or, where unknown, one point of many.

    Attributes
    ----------
    residents : ndarray of float
        By demand point; NaN where unknown.
    weight : ndarray of float
        By demand point, never NaN.
    known : ndarray of bool
        By unit: the residents of all its points are known.
    """

    residents: Floats
    weight: Floats
    known: NDArray[np.bool_]
