"""The commands: one module per noun, each imported only when it is called, so that `--help` answers at once."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from actionwatch import __version__
from actionwatch.base.errors import ActionwatchError, ConfigError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "See it work: real alerts from an emulated organisation."),
    "init": ("init", "Write a configuration, the rules, deployment examples."),
    "check": ("check", "Find all that is wrong with configuration and rules."),
    "probe": ("probe", "Find out the shape of the live upstream, never its values."),
    "run": ("run", "Run the service, or one round of it with --once."),
    "status": ("status", "Say how far it got, what waits, and what is wrong."),
    "actions": ("actions", "Ask the upstream for user actions, past the store."),
    "accounts": ("accounts", "List, create and unlink the linked accounts."),
    "records": ("records", "List and export the stored records."),
    "rules": ("rules", "List and check the rules."),
    "alerts": ("alerts", "List alerts, show one, acknowledge and resolve them."),
    "deliveries": ("deliveries", "List deliveries, show one, retry or drop dead letters."),
    "silences": ("silences", "Keep alerts quiet for a while, with a name and a reason."),
    "explain": ("explain", "Tell the whole story of an alert or a record."),
    "receivers": ("receivers", "List receivers, test one, preview what it would get."),
    "templates": ("templates", "Check the message templates."),
    "emulator": ("emulator", "Run the upstream's stand-in on loopback."),
}
"""Command -> its module under `cli/`, and the line that `--help` shows."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """List the commands in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"actionwatch.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called.

        Raises: click.UsageError, with the command that was likely meant.
        """
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands' lines from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-c",
    "--config",
    "config",
    metavar="FILE",
    default=lambda: os.environ.get("ACTIONWATCH_CONFIG") or "actionwatch.yaml",
    help="The configuration file.  [default: $ACTIONWATCH_CONFIG, then actionwatch.yaml]",
)
@click.version_option(__version__, prog_name="actionwatch")
@click.pass_context
def group(ctx: click.Context, config: str) -> None:
    """Watch the audit log of an Instaclustr organisation and bring alerts to people.

    Exit status: 0 done, 1 the work failed or found something, 2 usage or configuration error, 130 interrupted.
    """
    ctx.obj = config


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal in ASCII gets what it lacks as escapes: no alert may be lost to a character.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(call(arguments))


def call(arguments: Sequence[str] | None = None) -> int:
    """Run a command in this process; give its exit status. Errors go to stderr, each fault on a line of its own.

    Not called `run`: the module of that command, once imported, would take its place here.
    """
    try:
        result: Any = group.main(args=arguments, prog_name="actionwatch", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.UsageError as exc:
        exc.show()
        return EXIT_USAGE
    except click.ClickException as exc:
        return _fail(exc.format_message())
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except ConfigError as exc:
        from actionwatch.cli.output import print_faults

        print_faults(exc.faults)
        return EXIT_USAGE
    except ActionwatchError as exc:
        return _fail(str(exc))
    except BrokenPipeError:
        # The reader of a pipe went away; nothing is left to say to it, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def _fail(message: str) -> int:
    click.echo(f"actionwatch: {message}", err=True)
    return EXIT_FAILED
