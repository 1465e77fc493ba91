"""Evaluate models on tasks, from Python as by `harness eval`: plan what can run, run it, return what came of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Never, TypeVar

from pydantic import ValidationError

from harness.console import Console
from harness.plan.options import EvalOptions, shareable
from harness.plan.plan import Plan, PlanError, PlannedRun, make_plan
from harness.run.results import NotRun, Results, TaskResult
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import engine_problems
from tasks.included import included_tasks
from tasks.problems import did_you_mean
from tasks.spec import TaskSpec

Thing = TypeVar("Thing", TaskSpec, ModelCard)

_FIELDS = {"readouts": "readout", "assume_yes": "yes"}  # of `EvalOptions`, that have another word here


def evaluate(
    tasks: str | Path | TaskSpec | Iterable[str | Path | TaskSpec],
    models: str | Path | ModelCard | Iterable[str | Path | ModelCard],
    *,
    include_path: str | Path | Sequence[str | Path] = (),
    output: str | Path = "results",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    readout: str | Sequence[str] = "linear",
    engine: str = "auto",
    device: str = "auto",
    batch_size: int | str = "auto",
    seed: int = 0,
    probe: bool = True,
    floors: str = "all",
    reference: str = "built-in",
    answer_target: bool = True,
    causal: bool = False,
    max_train: int | None = None,
    probing_half: bool = False,
    model_args: Mapping[str, str | int | float] | None = None,
    executor: str = "local",
    dry_run: bool = False,
    offline: bool = False,
    yes: bool = False,
    overwrite: bool = False,
    trust_remote_code: bool = False,
    quiet: bool = False,
    **unknown: Never,
) -> Results:
    """Ask models about medical images, watch their layers, and file the results, as `harness eval` does.

    What is done is kept: the same call, after an interrupt or in a new session, goes on where it stopped. A run
    that fails ends none of the others; it is listed in `failures` of what is returned.

    Args:
        tasks: names, globs, "all", or YAML files; several in a list, or in a string with commas.
        models: names, globs, groups, card YAMLs, folders that hold a model, or hub ids; several as tasks.
        include_path: folders of further task YAMLs.
        output: where the result folders go, `<output>/<model>/<task>`.
        data_dir: where your data lie; HARNESS_DATA_DIR, the cache and `~/.medmnist` are looked through as well.
        limit: ask about this many test images; the record is then `partial`.
        readout: how layers are read, "linear", "paper", or both.
        engine: "auto", "transformers", "vllm", "openai", or an engine of an installed package.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        batch_size: images a pass, or "auto".
        seed: of everything that is drawn.
        probe: False asks for answers alone: no layer is watched.
        floors: what layers are held against, "all", or "task" for what is computed once a task.
        reference: the classifier that is the ceiling of the vision layers, "built-in" or one of the group
            `reference`.
        answer_target: probe the last token for the letter of the right option.
        causal: erase and swap states inside the model, and see what the answers depend on.
        max_train: at most this many training images for the probes.
        probing_half: learn only from the half of train that `harness finetune` leaves for probes.
        model_args: passed to the model's loader.
        executor: "local".
        dry_run: plan alone; `planned`, `skipped` and `failures` of what is returned hold the plan.
        offline: download nothing.
        yes: agree to large downloads.
        overwrite: replace results of another configuration.
        trust_remote_code: run code that a model brings along; name the model.
        quiet: print no progress; without it, progress goes to stderr.
        unknown: any other option is refused.

    Raises:
        TaskError, ModelError: a name stands for nothing, or a YAML is wrong.
        PlanError: what was asked for contradicts itself.
        TypeError: there is no such option.
        ValueError: an option cannot have that value.

    Examples:
        >>> import harness, tempfile
        >>> results = harness.evaluate(
        ...     "phantom-200", "zoo/llava-healthy", limit=20, probe=False, output=tempfile.mkdtemp(), quiet=True
        ... )
        >>> results[0]
        <TaskResult zoo/llava-healthy on phantom-200: partial, accuracy 100.0 (84-100)>
        >>> results.accuracy.n
        20
        >>> harness.evaluate("phantom-200", "zoo/llava-healthy", limits=20)
        Traceback (most recent call last):
        TypeError: harness.evaluate has no option `limits`; did you mean `limit`?
    """
    words = dict(locals())
    del words["unknown"]
    for name in unknown:
        raise TypeError(f"harness.evaluate has no option `{name}`{did_you_mean(name, words)}")
    if executor != "local":
        raise ValueError(f"executor: '{executor}' is no executor; there is local")
    console = Console(quiet=quiet)
    folders = [Path(str(one)).expanduser() for one in _several(include_path)]
    chosen_tasks, chosen_models = _named("tasks", tasks, TaskSpec), _named("models", models, ModelCard)
    words |= {"tasks": chosen_tasks, "models": chosen_models, "include_path": folders or ()}
    plan, options = planned(
        chosen_tasks,
        chosen_models,
        _options(words),
        reference=reference,
        include_paths=folders,
        say=console.say,
    )
    if dry_run:
        return Results(
            failures=_not_run(plan.failures), skipped=_not_run(plan.skipped), planned=_not_run(plan.to_run)
        )
    return carried_out(plan, options, console)


def planned(
    tasks: Sequence[str | TaskSpec],
    models: Sequence[str | ModelCard],
    options: EvalOptions,
    *,
    reference: str,
    include_paths: Iterable[Path],
    say: Callable[[str], None],
) -> tuple[Plan, EvalOptions]:
    """Return what will run, and what will not and why, and the options with the reference that was named.

    `say` is told of packages whose tasks or engines are left out.

    Raises:
        TaskError, ModelError: a name stands for nothing.
        PlanError: what was asked for contradicts itself.
    """
    from harness.watch.reference_choice import chosen_reference

    if options.causal and not options.probe:
        raise PlanError("--causal works on watched layers; leave out --no-probe")
    options = replace(options, reference=chosen_reference(reference))
    included = included_tasks(include_paths)
    for problem in (*engine_problems(), *included.problems):
        say(problem)
    return make_plan(tasks, models, options, included), options


def carried_out(plan: Plan, options: EvalOptions, console: Console) -> Results:
    """Run what can run, and return what came of it."""
    from harness.run.sweep import sweep

    outcome = sweep(plan, options, console)
    return Results(
        tuple(TaskResult(run.folder.absolute(), record) for run, record in outcome.records),
        tuple(NotRun(run.model, run.task.id, reason) for run, reason in outcome.failures),
        _not_run(outcome.skipped),
    )


def _not_run(runs: Iterable[PlannedRun]) -> tuple[NotRun, ...]:
    return tuple(NotRun(run.model, run.task.id, run.reason) for run in runs)


def _options(words: Mapping[str, Any]) -> EvalOptions:
    """Return the options that words stand for; ValueError names the word whose value is wrong."""
    batch_size, data_dir = words["batch_size"], words["data_dir"]
    names = EvalOptions.__dataclass_fields__.keys() & words.keys() - {"reference"}
    try:
        return EvalOptions(
            **{
                **{name: words[name] for name in names},
                "output": Path(words["output"]).expanduser(),
                "data_dir": None if data_dir is None else Path(data_dir).expanduser(),
                "readouts": tuple(map(str, _several(words["readout"]))),
                "batch_size": None if batch_size == "auto" else batch_size,
                "model_args": words["model_args"] or {},
                "assume_yes": words["yes"],
                "command": _call(words),
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, *below = map(str, first["loc"])
        place = ".".join([_FIELDS.get(name, name), *below])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place}: {message} (it is {first['input']!r})") from None


def _named(word: str, value: Any, kind: type[Thing]) -> list[str | Thing]:
    """Return the names that `tasks` or `models` holds; things that are loaded already stay as they are."""
    found: list[str | Thing] = []
    for one in [value] if isinstance(value, kind) else _several(value):
        if not isinstance(one, str | Path | kind):
            raise TypeError(f"{word}: {one!r} is no name, path or {kind.__name__}")
        found.append(str(one.expanduser()) if isinstance(one, Path) else one)
    if not found:
        raise ValueError(f"{word}: names nothing")
    return found


def _several(value: Any) -> list[Any]:
    """Return the parts of a list, or of a string with commas."""
    if isinstance(value, Path):
        return [value]
    parts = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return [part for one in parts for part in (_split(one) if isinstance(one, str) else [one])]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _call(words: Mapping[str, Any]) -> str:
    """Return the call as it can be shared: what differs from the defaults, of absolute paths only the last part."""
    defaults = {name: one.default for name, one in inspect.signature(evaluate).parameters.items()}
    told = [f"{name}={_shared(value)}" for name, value in words.items() if value != defaults[name]]
    return f"harness.evaluate({', '.join(told)})"


def _shared(value: Any) -> str:
    if isinstance(value, str | Path):
        return repr(shareable(str(value)))
    if isinstance(value, TaskSpec):
        return repr(value.id)
    if isinstance(value, ModelCard):
        return repr(value.name)
    if isinstance(value, Mapping):
        return repr({name: shareable(str(one)) for name, one in value.items()})
    return f"[{', '.join(map(_shared, value))}]" if isinstance(value, Iterable) else repr(value)
