"""`crackgeo doctor`: whether this installation works."""

from __future__ import annotations

import click

from .console import Console
from .options import console_options


@click.command("doctor")
@console_options
def doctor_command(console: Console) -> int:
    """Check the installation: versions, device, model, projections, file formats.

    The exit code is 0 if everything works, 5 if the model does not load, else 1.
    """
    from ..doctor import diagnose

    report = diagnose()
    console.result(report.to_dict(), report.summary())
    return report.exit_code
