"""The command line: a command's file is imported when the command is used."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from typing import Any, NoReturn

import click

from harness import __version__, shadowed

_COMMANDS = {
    "eval": ("harness.cli.eval:eval_command", "Ask models, watch their layers, file the records."),
    "tasks": ("harness.cli.tasks:tasks", "List, show, validate and export tasks."),
    "models": ("harness.cli.models:models", "List, show and check models, and add one."),
    "report": ("harness.cli.report:report_command", "Write result folders as one HTML page."),
    "export": ("harness.cli.exchange:export_command", "Write results for other programs, such as lm-eval."),
    "compare": (
        "harness.cli.compare:compare_command",
        "Compare two results; --gate stops a release that got worse.",
    ),
    "push": (
        "harness.cli.exchange:push_command",
        "Put a result on the Hugging Face hub, or its scores into a model card.",
    ),
    "submit": ("harness.cli.leaderboard:submit_command", "Verify a result and put it on a board."),
    "leaderboard": (
        "harness.cli.leaderboard:leaderboard",
        "Keep a board: verify, run again, build its page.",
    ),
    "finetune": ("harness.cli.finetune:finetune_command", "Tune a model on one task by adapters."),
    "study": ("harness.cli.study:study_command", "A grid of models, tasks and conditions, written up."),
    "zoo": ("harness.cli.zoo:zoo", "Materialise the built-in models."),
}

# Errors that say all a user needs: one line, no traceback. Named by path so that none is imported early.
_KNOWN_ERRORS: tuple[tuple[str, str, int], ...] = (
    ("tasks.spec", "TaskError", 1),
    ("harness.data.dataset", "DataError", 1),
    ("model_adapters.interface", "ModelError", 1),
    ("harness.passes.store", "StoreError", 1),
    ("leaderboard.record.record", "RecordError", 1),
    ("harness.study.document", "StudyError", 1),
)


class _ReaderGoneError(Exception):
    """A broken pipe, under a name that click does not turn into exit code 1."""


class _LazyGroup(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGoneError from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            from tasks.problems import did_you_mean

            hint = did_you_mean(name, _COMMANDS) or f"; there are {', '.join(_COMMANDS)}"
            raise click.UsageError(f"no command '{name}'{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Find where medical multimodal models lose the image: answers, layer by layer, and a board."""
    ctx.ensure_object(dict)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 something failed, 2 bad usage, 130 interrupted.

    Of `harness compare` 1 says that a candidate is worse: what fails there exits with 2.
    """
    _mend_streams()
    given = sys.argv[1:] if arguments is None else arguments
    problem = shadowed()
    if problem is not None:
        _complain(problem)
        sys.exit(2)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]  # it may stand anywhere
    failed = 2 if given[:1] == ["compare"] else 1
    try:
        code = cli.main(args=given, prog_name=_program(), standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; start the same command again to go on")
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(2)
    except click.UsageError as error:
        usage = error.ctx.command_path if error.ctx else _program()
        _complain(f"{error.format_message()} (see {usage} --help)")
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message())
        sys.exit(error.exit_code)
    except _ReaderGoneError:
        # The reader of a pipe went away (`harness tasks list | head`): nothing to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if debug:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"{place}{error.strerror or error} (--debug shows where this came up)")
        sys.exit(failed)
    except Exception as error:  # the outermost frame: a known error is one line, any other a bug to report
        if debug:
            raise
        code = _known(error)
        if code is None:
            _complain(
                f"unexpected {type(error).__name__}: {' '.join(str(error).split())} "
                "(this is a bug; --debug shows the traceback to report)"
            )
            sys.exit(failed)
        _complain(str(error))
        sys.exit(code)


def _program() -> str:
    """Return the name that was typed: the command has two."""
    typed = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    return "mllm-harness" if typed == "mllm-harness" else "harness"


def _known(error: Exception) -> int | None:
    for module, name, code in _KNOWN_ERRORS:
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return code
    return None


def _mend_streams() -> None:
    """Let what is printed never fail for want of a stream (`>&-`), or of a letter in its encoding."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str) -> None:
    # With a full disk behind stderr the exit status is all that can still be told.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{_program()}: {message}\n")
