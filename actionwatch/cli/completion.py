"""`completion`: print the script with which a shell completes commands, options and values."""

from __future__ import annotations

import click

from actionwatch.cli.output import echo

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the script that makes a shell complete commands, options, and values: kinds, rules, receivers, sources, streams.

    All but the kinds are those of the configuration.

    \b
    source <(actionwatch completion bash)                             # in ~/.bashrc; bash 4.4 or newer
    source <(actionwatch completion zsh)                              # in ~/.zshrc, after compinit
    actionwatch completion fish > ~/.config/fish/completions/actionwatch.fish
    """
    from click.shell_completion import get_completion_class

    from actionwatch.cli import group

    made = get_completion_class(shell)
    if made is None:  # all shells of _SHELLS are part of click
        raise click.UsageError(f"no completion for {shell}")
    echo(made(group, {}, "actionwatch", "_ACTIONWATCH_COMPLETE").source())
