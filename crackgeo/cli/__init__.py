"""The command line. A command's module is imported when it is used, and imports the engine then."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module

import click

from ..errors import Cancelled, CrackgeoError, ResourceError, UsageError
from ..version import __version__
from .console import Console, stop_signals
from .lifeline import watch_stdin

COMMANDS = {
    "map": "map:map_command",
    "predict": "predict:predict_command",
    "vectorize": "vectorize:vectorize_command",
    "info": "info:info_command",
    "doctor": "doctor:doctor_command",
    "models": "models:models",
    "chips": "chips:chips_command",
    "finetune": "finetune:finetune_command",
    "train": "train:train_command",
    "evaluate": "evaluate:evaluate_command",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f".{module}", __package__), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crackgeo")
def cli() -> None:
    """Cracks on a map: from geo-referenced imagery to measured crack lines.

    The main job is one command:

        crackgeo map survey.tif -o cracks.gpkg

    Exit codes: 0 done, 1 internal error, 2 usage, 3 bad input, 4 out of memory or disk, 5 model,
    6 done but with inputs left out (--on-error skip), 130 interrupted.
    """


def main() -> None:
    """Run the command line: errors become one message and an exit code, never a traceback."""
    if sys.stderr is None:  # closed; what is said there must not go to stdout, or into a file
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    watch_stdin()
    code = run(sys.argv[1:])
    atexit.register(_ignore_signals)  # the last one registered is the first to run
    sys.exit(code)


def _ignore_signals() -> None:
    """All is done; a signal would only upset the exit."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


def run(arguments: list[str]) -> int:
    """Run with the arguments given and return the exit code."""
    console = Console()
    try:
        code = cli.main(arguments, prog_name="crackgeo", standalone_mode=False, obj=console)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        if "--progress json" in " ".join(arguments).replace("=", " "):  # not parsed yet
            console.progress = "json"
            console.error(UsageError(error.format_message()), error.exit_code)
        else:
            with suppress(OSError, ValueError):  # nobody reads stderr
                error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes every one for the user's
            return _internal_error(console, error.__cause__)
        console.error(Cancelled(), Cancelled.exit_code)
        return Cancelled.exit_code
    except CrackgeoError as error:
        console.error(error, error.exit_code)
        return error.exit_code
    except MemoryError:
        out = ResourceError(
            "out of memory", "use a smaller --batch-size, or run on a part (--bbox)"
        )
        console.error(out, out.exit_code)
        return out.exit_code
    except BrokenPipeError:
        return 1
    except Exception as error:
        if _was_interrupted(error):
            console.error(Cancelled(), Cancelled.exit_code)
            return Cancelled.exit_code
        return _internal_error(console, error)


def _internal_error(console: Console, error: Exception) -> int:
    if console.debug:
        raise error
    kind = type(error).__name__
    console.error(CrackgeoError(f"internal error: {kind}: {error}", Console.REPORT), 1)
    return 1


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether a library caught Ctrl-C and raised something of its own, as torch's exporter does."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
