"""What every part of a result is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A frozen part of a result: unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(Part):
    """A measured value with its 95% interval and the number of images behind it."""

    value: float
    low: float
    high: float
    n: int = Field(ge=1)
