"""Work through the cases: several at a time, in order, each result written down as soon as it is there."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

from tools.faultbench.cases import Case, needs
from tools.faultbench.results import Result

Evaluate = Callable[[Case, str], Result]  # a case and its key; module-level, so that a process can be sent it
Say = Callable[[str], None]


class CaseError(Exception):
    """A case could not be evaluated; the message says why. The others go on."""


@dataclass(frozen=True)
class Tally:
    """How a pass over the cases ended."""

    finished: int
    failed: tuple[tuple[str, str], ...]  # name and reason
    left: int  # not begun, because the budget was spent or what they need failed


def with_needs(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Return the cases with those that they need put in before them, each once."""
    chosen: dict[str, Case] = {}
    for case in cases:
        needed = needs(case)
        for one in (case,) if needed is None else (needed, case):
            chosen.setdefault(one.name, one)
    return tuple(chosen.values())


def run_cases(
    cases: Sequence[Case],
    keys: Mapping[str, str],
    done: Mapping[str, Result],
    evaluate: Evaluate,
    store: Callable[[Result], None],
    *,
    jobs: int = 1,
    budget_seconds: float | None = None,
    say: Say = print,
) -> Tally:
    """Evaluate every case that is not done.

    A case that cannot be evaluated is counted as failed, and so is left for the next time. Any other
    error is a bug of the bench or of what it measures and ends it, results so far being stored.

    Args:
        cases: in the order in which to begin them, with all that they need.
        keys: each case's key by its name.
        done: finished results by key.
        evaluate: does one case, in a process of its own if `jobs` is above 1; raises CaseError.
        store: called here, one result at a time.
        jobs: processes.
        budget_seconds: after these no case is begun; those begun are finished.
        say: told of each result.
    """
    started = time.monotonic()
    ready = {case.name for case in cases if keys[case.name] in done}
    waiting = [case for case in cases if case.name not in ready]
    running: dict[Future[Result], Case] = {}
    failed: list[tuple[str, str]] = []
    total, finished = len(waiting), 0
    with _executor(jobs) as pool:
        while waiting or running:
            spent = budget_seconds is not None and time.monotonic() - started >= budget_seconds
            while not spent and len(running) < jobs and (case := _next(waiting, ready)) is not None:
                waiting.remove(case)
                running[pool.submit(evaluate, case, keys[case.name])] = case
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                case = running.pop(future)
                try:
                    result = future.result()
                except CaseError as error:
                    failed.append((case.name, str(error)))
                    say(f"{case.name}: failed: {error}")
                    continue
                store(result)
                ready.add(case.name)
                finished += 1
                left = (time.monotonic() - started) / finished * (total - finished - len(failed))
                verdict = f"{result.judged.verdict} (about {left / 60:.0f} min left)"
                say(f"{finished}/{total} {case.name}: {verdict}")
    return Tally(finished, tuple(failed), len(waiting))


def _next(waiting: Sequence[Case], ready: set[str]) -> Case | None:
    for case in waiting:
        needed = needs(case)
        if needed is None or needed.name in ready:
            return case
    return None


def _executor(jobs: int) -> Executor:
    if jobs == 1:
        return _InThisProcess()
    # Processes begun afresh: torch does not survive being forked once it has threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Leave no worker behind where the bench itself is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _InThisProcess(Executor):
    """Does what is submitted at once, so that a single job can be profiled and debugged."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except CaseError as error:
            future.set_exception(error)
        return future
