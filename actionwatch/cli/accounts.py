"""`accounts`: manage the organisation's linked accounts. Commands that write ask for confirmation."""

from __future__ import annotations

import sys

import click

from actionwatch.base.model import LinkedAccount
from actionwatch.cli.context import chosen_source, reading_client
from actionwatch.cli.options import output_option, source_option
from actionwatch.cli.output import confirm, echo, print_document, print_items
from actionwatch.text.suggestions import did_you_mean

_yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
command = click.Group(help="List, create and unlink the organisation's linked accounts.")


@command.command("list")
@source_option
@output_option
@click.pass_obj
def list_accounts(config: str, source: str | None, form: str) -> None:
    """List the linked accounts that the upstream returns now."""
    with reading_client(config, source) as client:
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
@source_option
@_yes_option
@output_option
@click.pass_obj
def create(config: str, name: str, source: str | None, yes: bool, form: str) -> None:
    """Create an account, link it to the organisation, and print its id."""
    from actionwatch.instaclustr import admin
    from actionwatch.service import upstream

    chosen = chosen_source(config, source)
    _confirm(f"Create the account {name!r} in organisation {chosen.organisation_id} ({chosen.name})?", yes)
    made = admin.create_account(upstream.connection_to(chosen), name)
    print_document({"id": made, "name": name}, form, as_text=lambda: echo(made))


@command.command("unlink")
@click.argument("account", metavar="ID|NAME")
@source_option
@_yes_option
@output_option
@click.pass_obj
def unlink(config: str, account: str, source: str | None, yes: bool, form: str) -> None:
    """Unlink an account. Its later actions are not in the organisation's log, so actionwatch no longer sees them."""
    from actionwatch.instaclustr import admin
    from actionwatch.service import upstream

    chosen = chosen_source(config, source)
    place = f"organisation {chosen.organisation_id} ({chosen.name})"
    found = _linked(config, source, account)
    _confirm(f"Unlink account {found.name} ({found.id}) from {place}? actionwatch will not see its later actions.", yes)
    admin.unlink_account(upstream.connection_to(chosen), found.id)
    document = {"id": found.id, "name": found.name}
    print_document(document, form, as_text=lambda: echo(f"{found.id} is no longer linked"))


def _linked(config: str, source: str | None, account: str) -> LinkedAccount:
    """Return the linked account with this id or name.

    Raises: click.ClickException, if there is none, or if several have the name.
    """
    with reading_client(config, source) as client:
        linked = client.linked_accounts()
    found = [each for each in linked if each.id == account] or [each for each in linked if each.name == account]
    if not found:
        hint = did_you_mean(account, [each.name for each in linked]) or "see 'actionwatch accounts list'"
        raise click.ClickException(f"no linked account has the id or name {account}: {hint}")
    if len(found) > 1:
        raise click.ClickException(f"several linked accounts are named {account}: give the id of one")
    return found[0]


def _confirm(question: str, yes: bool) -> None:
    """Ask, unless `--yes` is given. Raises: click.UsageError without a terminal; click.ClickException if the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("this command asks for confirmation, but standard input is not a terminal: pass --yes")
    if not confirm(question):
        raise click.ClickException("cancelled: nothing was changed")
