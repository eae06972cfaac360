"""The commands: one module per noun, imported only when it is called, so that `--help` is fast."""

from __future__ import annotations

import functools
import gc
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from actionwatch import __version__
from actionwatch.base.errors import ActionwatchError, ConfigError
from actionwatch.text.escaping import one_line, visible
from actionwatch.text.suggestions import closest

EXIT_FAILED = 1
EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
EXIT_STATUS = (
    "Exit status: 0 success, 1 the command failed or found something, 2 usage or configuration error, 130 interrupted."
)

COMMANDS = {
    "demo": "Show real alerts from an emulated organisation.",
    "init": "Write a configuration, the rules and deployment examples.",
    "check": "Report every error in the configuration and the rules.",
    "run": "Run the service, or a single round with --once.",
    "status": "Show progress, queues and troubles.",
    "actions": "Query the upstream for user actions, bypassing the store.",
    "accounts": "List, create and unlink linked accounts.",
    "records": "List and export the stored records, and the proof of them.",
    "rules": "List, check, test and backtest the rules.",
    "alerts": "List, show, acknowledge and resolve alerts.",
    "deliveries": "List and show deliveries, retry or drop dead letters.",
    "silences": "Suppress alerts for a limited time.",
    "routes": "Show the routes and test which receivers get an alert.",
    "explain": "Print the complete history of an alert or a record.",
    "receivers": "List, test and preview receivers.",
    "streams": "List and rewind streams.",
    "templates": "Check the message templates.",
    "tokens": "Create, list and revoke tokens for the console and the API.",
    "store": "Upgrade, copy, verify, back up and restore the store.",
    "emulator": "Run an emulator of the upstream on loopback.",
    "schema": "Print the JSON Schema of a file or a message.",
    "completion": "Print the completion script for a shell.",
}
"""The line of each command in `--help`. Its module in `cli/` has the same name, with `_` for `-`."""
COLLECTION = gc.get_threshold()  # how often Python searches for garbage; a service keeps it
_RARE_COLLECTION = 100_000  # the imports of a command make about 200,000 objects, and all of them stay
WITHOUT_CONFIGURATION = ("demo", "init", "emulator", "schema", "completion")


def _choose_config(context: click.Context, _option: click.Parameter, given: str | None) -> None:
    """Set what commands get as `config`: the innermost `-c` wins."""
    if given is not None:
        context.obj = given
    elif context.obj is None:
        context.obj = os.environ.get("ACTIONWATCH_CONFIG") or "actionwatch.yaml"


def _config_option(*names: str, is_hidden: bool = False) -> click.Option:
    return click.Option(
        names,
        metavar="FILE",
        type=click.Path(),
        callback=_choose_config,
        expose_value=False,
        hidden=is_hidden,
        help="The configuration file.  [default: $ACTIONWATCH_CONFIG, then actionwatch.yaml]",
    )


@functools.cache
def load_command(name: str) -> click.Command:
    """Import a command, and add to it and to the commands below it what all of them have: `-c`, and the exit status in help."""
    command: click.Command = import_module(f"actionwatch.cli.{name.replace('-', '_')}").command
    waiting = [command]
    while waiting:
        each = waiting.pop()
        taken = {opt for param in each.params for opt in param.opts}
        names = [opt for opt in ("-c", "--config") if opt not in taken]
        each.params.append(_config_option(*names, is_hidden=name in WITHOUT_CONFIGURATION))
        each.epilog = EXIT_STATUS
        each.short_help = _first_sentence(each.help or "")  # click would cut it to one line
        waiting += each.commands.values() if isinstance(each, click.Group) else ()
    return command


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].removesuffix(".")


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """List the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the called command.

        Raises: click.UsageError, which suggests a similar command.
        """
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = closest(args[0], COMMANDS)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the lines of the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


group = _LazyGroup(
    "actionwatch",
    help=f"Watch the audit log of an Instaclustr organisation and deliver alerts.\n\n{EXIT_STATUS}",
    params=[_config_option("-c", "--config")],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
click.version_option(__version__, prog_name="actionwatch")(group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Escape characters that the terminal cannot print, so that no alert is lost.
            stream.reconfigure(errors="backslashreplace")
    gc.set_threshold(_RARE_COLLECTION)
    status = call(arguments)
    gc.freeze()  # at its exit, Python would search all objects for garbage and free each: a quarter of a command's CPU
    sys.exit(status)


def call(arguments: Sequence[str] | None = None) -> int:
    """Run a command in this process and return its exit status. Errors go to stderr, one line per fault.

    The name is not `run`, because importing the module `cli.run` would replace it.
    """
    try:
        result: Any = group.main(args=arguments, prog_name="actionwatch", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:  # a group without a command
        from actionwatch.cli.output import echo

        echo(exc.format_message())
        return 0
    except click.UsageError as exc:
        click.UsageError(_shown(exc), exc.ctx).show()
        return EXIT_USAGE
    except click.ClickException as exc:
        return _fail(exc.format_message())
    except (click.Abort, KeyboardInterrupt):
        return _EXIT_INTERRUPTED
    except ConfigError as exc:
        from actionwatch.cli.output import print_faults

        print_faults(exc.faults)
        return EXIT_USAGE
    except ActionwatchError as exc:
        return _fail(str(exc))
    except UnicodeEncodeError as exc:
        if _is_text(exc.object):
            raise
        _fail("an argument is not UTF-8: correct it, or set the encoding of the terminal to UTF-8")
        return EXIT_USAGE
    except BrokenPipeError:
        # The reader of the pipe is gone. Discard the rest, so that the flush at exit does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def _shown(error: click.UsageError) -> str:
    """Return a message of click, which quotes arguments, as one line; only the one about a missing argument lists choices."""
    text = error.format_message()
    return visible(text) if isinstance(error, click.MissingParameter) else one_line(text)


def _is_text(value: str) -> bool:
    """Return whether a text has no lone surrogate, by which Python represents a byte of an argument that is not UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _fail(message: str) -> int:
    from actionwatch.cli.output import echo

    echo(f"actionwatch: {message}", err=True)
    return EXIT_FAILED
