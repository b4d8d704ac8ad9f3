"""`crackgeo` and `python -m crackgeo` are the command line."""

import signal
import sys

from .errors import Cancelled


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; a wish to stop while it is being loaded is heard as later."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        print(f"error: {Cancelled().message}", file=sys.stderr)
        sys.exit(Cancelled.exit_code)
    run()


if __name__ == "__main__":
    main()
