from __future__ import annotations

import time
from datetime import UTC, datetime

from harness.passes.timing import Timing, time_by_step


def test_a_step_that_is_entered_again_adds_up() -> None:
    timing = Timing(datetime.now(UTC))
    for _ in range(2):
        with timing.of("load"):
            time.sleep(0.02)
    assert 0.04 <= timing.seconds["load"] <= timing.total()


def test_the_time_by_step_is_said_in_the_order_of_the_steps() -> None:
    seconds = {"load": 7.04, "answer": 25.3, "checks": 0.03, "random_vision": 9.5, "verdict": 0.61}
    assert time_by_step(seconds, 42.5) == (
        "load 7.0 s, answers 25 s, random vision 10 s, verdict 0.6 s; in all 42 s"
    )
    assert time_by_step({"load": 0.01}, 0.02) == "in all 0.0 s"
