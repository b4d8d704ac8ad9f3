"""`crackgeo` and `python -m crackgeo` are the command line."""

import sys

from .errors import Cancelled


def main() -> None:
    """Run the command line; Ctrl-C while it is being loaded ends it as quietly as later."""
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        print(f"error: {Cancelled().message}", file=sys.stderr)
        sys.exit(Cancelled.exit_code)
    run()


if __name__ == "__main__":
    main()
