"""Write docs/cli.md from the commands' own help:  python docs/make_cli.py"""

from pathlib import Path

import click

from crackgeo.cli import cli

HEAD = """# Command line
Written by `python docs/make_cli.py` from the commands' help; do not edit.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    parts = [HEAD, *_pages(cli, ["crackgeo"])]
    return "\n".join(parts)


def _pages(command: click.Command, names: list[str]) -> list[str]:
    context = click.Context(
        command,
        info_name=" ".join(names),
        terminal_width=100,
        help_option_names=cli.context_settings["help_option_names"],
    )
    pages = [f"## {' '.join(names)}\n\n```\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            pages += _pages(child, [*names, name])
    return pages


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(reference(), encoding="utf-8")
