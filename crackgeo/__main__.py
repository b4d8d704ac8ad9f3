"""`crackgeo` and `python -m crackgeo` are the command line."""

import signal
import sys
from contextlib import suppress

from .errors import Cancelled


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; a wish to stop while it is being loaded is heard as later."""
    signal.signal(signal.SIGTERM, _interrupt)
    hangup: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # as `nohup` has it
        signal.signal(hangup, _interrupt)
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        with suppress(OSError, ValueError):  # a terminal that is lost
            print(f"error: {Cancelled().message}", file=sys.stderr, flush=True)
        sys.exit(Cancelled.exit_code)
    run()


if __name__ == "__main__":
    main()
