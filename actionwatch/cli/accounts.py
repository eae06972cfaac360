"""`accounts`: manage the organisation's linked accounts. Commands that write ask for confirmation."""

from __future__ import annotations

import sys

import click

from actionwatch.cli.context import chosen_source
from actionwatch.cli.output import output_option, print_items


@click.group()
def command() -> None:
    """List, create and unlink the organisation's linked accounts."""


@command.command("list")
@click.option("--source", "source_name", metavar="NAME", help="The source to query, if several are configured.")
@output_option
@click.pass_obj
def list_accounts(config: str, source_name: str | None, form: str) -> None:
    """List the linked accounts that the upstream returns now."""
    from actionwatch.service import app

    with app.reading_client(chosen_source(config, source_name)) as client:
        found = client.linked_accounts()
    print_items(
        found,
        form,
        document=lambda account: dict(account.raw),
        columns=("account", "name", "type", "PCI", "identity provider synced"),
        row=lambda account: (
            account.id,
            account.name,
            account.raw.get("accountType"),
            account.raw.get("isAccountPciCompliant"),
            account.raw.get("isEnabledIdpSyncedToOrganisation"),
        ),
        nothing="no linked accounts",
        cut=("name",),
        leave_out=("identity provider synced", "PCI", "type"),
    )


@command.command("create")
@click.argument("name")
@click.option(
    "--source", "source_name", metavar="NAME", help="The source whose organisation to use, if several are configured."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def create(config: str, name: str, source_name: str | None, yes: bool) -> None:
    """Create an account, link it to the organisation, and print its id."""
    from actionwatch.service import app

    source = chosen_source(config, source_name)
    if not yes:
        _ask(f"Create the account {name!r} in organisation {source.organisation_id} ({source.name})?")
    with app.writing_client(source) as admin:
        click.echo(admin.create_account(name))


@command.command("unlink")
@click.argument("account_id", metavar="ID")
@click.option(
    "--source", "source_name", metavar="NAME", help="The source whose organisation to use, if several are configured."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def unlink(config: str, account_id: str, source_name: str | None, yes: bool) -> None:
    """Unlink an account. Its later actions are not in the organisation's log, so actionwatch no longer sees them."""
    from actionwatch.service import app

    source = chosen_source(config, source_name)
    if not yes:
        _ask(
            f"Unlink account {account_id} from organisation {source.organisation_id} ({source.name})? "
            "actionwatch will not see its later actions."
        )
    with app.writing_client(source) as admin:
        admin.unlink_account(account_id)
    click.echo(f"{account_id} is no longer linked")


def _ask(question: str) -> None:
    """Ask for confirmation. Raises: click.UsageError without a terminal; click.ClickException if the answer is no."""
    if not sys.stdin.isatty():
        raise click.UsageError("this command asks for confirmation, but standard input is not a terminal: pass --yes")
    if not click.confirm(question):
        raise click.ClickException("cancelled: nothing was changed")
