"""Target ranges by kind of aquarium: starting points that every owner changes.

Care guides differ; these are about their middle.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    FRESHWATER = "freshwater"
    REEF = "reef"


class Target(NamedTuple):
    """The range in which a metric is well; None where one side does not matter."""

    unit: str
    low: float | None
    high: float | None


TARGETS: dict[Kind, dict[str, Target]] = {
    Kind.FRESHWATER: {
        "temperature": Target("C", 22.0, 28.0),
        "ph": Target("pH", 6.5, 7.5),
        "ammonia": Target("mg/L", None, 0.25),
        "nitrite": Target("mg/L", None, 0.25),
        "nitrate": Target("mg/L", None, 40.0),
        "gh": Target("dGH", 4.0, 12.0),
        "kh": Target("dKH", 4.0, 8.0),
        "oxygen": Target("mg/L", 5.0, None),
    },
    Kind.REEF: {
        "temperature": Target("C", 24.0, 26.5),
        "ph": Target("pH", 7.8, 8.4),
        "salinity": Target("ppt", 33.0, 35.0),
        "ammonia": Target("mg/L", None, 0.1),
        "nitrite": Target("mg/L", None, 0.1),
        "nitrate": Target("mg/L", 2.0, 15.0),
        "phosphate": Target("mg/L", 0.03, 0.1),
        "alkalinity": Target("dKH", 7.0, 11.0),
        "calcium": Target("mg/L", 380.0, 450.0),
        "magnesium": Target("mg/L", 1250.0, 1350.0),
    },
}
