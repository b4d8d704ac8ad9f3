"""Runs the programs that make an environment: venv, pip, uv. Needs no QGIS."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from .child import Child, clean_environment

# All up to the last @ of a word: passwords may hold an @ or a /, and a token stands without a user.
LOGIN = re.compile(r"://\S+@")
# They would send packages somewhere else than into the environment.
MISLEADING = ("PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "UV_PYTHON")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_EXIT_S = 10  # from the end of a program's output to its own end


class Cancelled(Exception):
    """The user stopped a program; nothing of it runs any more."""


def tool_environment(proxy: str = "") -> dict[str, str]:
    """Variables for pip and uv; the user's own choice of index and certificate stays.

    Parameters
    ----------
    proxy : URL of the proxy, empty: the one that the variables of this process name
    """
    variables = {k: v for k, v in clean_environment().items() if k not in MISLEADING}
    return {**variables, **(dict.fromkeys(PROXY_VARIABLES, proxy) if proxy else {})}


def without_password(text: str) -> str:
    """The text with the logins of its URLs replaced by stars."""
    return LOGIN.sub("://***@", text)


def ask(
    command: Sequence[str],
    limit_s: float,
    good_codes: Sequence[int] = (0,),
    is_cancelled: Callable[[], bool] = lambda: False,
) -> str | None:
    """What a program prints on stdout; None if it does not run, fails or takes too long.

    Parameters
    ----------
    good_codes : exit codes that do not count as a failure
    is_cancelled : asked 20 times a second

    Raises
    ------
    Cancelled : `is_cancelled` said so
    """
    deadline = time.monotonic() + limit_s
    said = []
    try:
        with Child(list(command)) as child:
            for stream, line in child.lines():
                if is_cancelled():
                    raise Cancelled
                if time.monotonic() > deadline:
                    return None
                if stream == "out":
                    said.append(line)
            child.wait(_EXIT_S)
    except OSError:
        return None
    return "\n".join(said) if child.exit_code in good_codes else None


def run(
    command: Sequence[str],
    environ: dict[str, str],
    on_line: Callable[[str], None],
    is_cancelled: Callable[[], bool],
) -> int:
    """Run a program to its end and hand on each line it prints, passwords removed.

    Returns
    -------
    its exit code

    Raises
    ------
    OSError : the program cannot be started
    Cancelled : `is_cancelled`, asked 20 times a second, said so
    """
    with Child(list(command), environ) as child:
        for stream, line in child.lines():
            if is_cancelled():
                raise Cancelled
            if stream is not None and line.strip():
                on_line(without_password(line))
        child.wait(_EXIT_S)
    code = child.exit_code
    return -1 if code is None else code  # None: it did not end after its output, and was killed
