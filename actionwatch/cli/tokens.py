"""`tokens`: create, list and revoke personal tokens for the console and the API."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from actionwatch.base.access import MAX_AUTHOR_CHARS, AccessRole, AccessToken, digest_of, is_own_name, new_secret
from actionwatch.base.clock import utc_now
from actionwatch.base.plurals import counted
from actionwatch.cli.context import changing_store, reading_store
from actionwatch.cli.options import author_option, future, output_option
from actionwatch.cli.output import echo, print_document, print_items
from actionwatch.text.times import spell_time

command = click.Group(help="Create, list and revoke personal tokens for the console and the API.")


@command.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in AccessRole]),
    default=AccessRole.READER.value,
    show_default=True,
    help="A reader can read everything; an operator can also make decisions.",
)
@click.option(
    "--expires",
    "expires_at",
    type=future,
    metavar="TIME",
    help="When it ends: a duration from now (90d), or RFC 3339.  [default: never]",
)
@author_option
@output_option
@click.pass_obj
def create(
    config: str,
    name: str,
    role: str,
    expires_at: datetime | None,
    author: str,
    form: str,
) -> None:
    """Create a token for the person NAME, and print its secret. It is shown once, because the store has only its hash.

    NAME is the author of all decisions with the token. A person may have several tokens, for example one for a script.

    \b
    actionwatch tokens create sam@example.com --role operator --expires 90d
    """
    from actionwatch.store import tokens

    now = utc_now()
    _check_name(name)
    if expires_at is not None and expires_at <= now:
        raise click.UsageError(f"the token would have ended at {spell_time(expires_at)}: give --expires a later time")
    secret = new_secret()
    made = AccessToken(str(uuid.uuid4()), name, AccessRole(role), now, author, expires_at)
    with changing_store(config) as (_, database), database.write(is_durable=True) as connection:
        others = [each for each in tokens.find(connection, name) if each.name == name and each.status(now) == "valid"]
        tokens.insert(connection, made, digest_of(secret))
    if others:
        echo(
            f"note: {name} has {counted(len(others), 'other valid token')}: 'actionwatch tokens list' shows them",
            err=True,
        )
    echo("note: this is the secret; store it safely, it is not shown again", err=True)
    print_document({**_token_document(made, now), "secret": secret}, form, as_text=lambda: echo(secret))


def _check_name(name: str) -> None:
    if not name.isprintable() or name != name.strip() or not name or len(name) > MAX_AUTHOR_CHARS:
        raise click.UsageError(
            f"NAME is 1 to {MAX_AUTHOR_CHARS} printable characters on one line, without spaces around it"
        )
    if is_own_name(name):
        raise click.UsageError(f"{name} is the name of the service: give each person a token with another name")


@command.command("list")
@click.option("--all", "is_all", is_flag=True, help="Include revoked and expired tokens.")
@output_option
@click.pass_obj
def list_tokens(config: str, is_all: bool, form: str) -> None:
    """List personal tokens. The last use is recorded at most once an hour. No secret is shown: the store has none."""
    from actionwatch.store import tokens

    now = utc_now()
    with reading_store(config) as (_, connection):
        found = [each for each in tokens.read_all(connection) if is_all or each.status(now) == "valid"]
    print_items(
        found,
        form,
        document=lambda token: _token_document(token, now),
        columns=("name", "role", "status", "id", "created", "by", "expires", "last used"),
        row=lambda token: (
            token.name,
            token.role.value,
            token.status(now),
            token.id,
            token.created_at,
            token.created_by,
            token.expires_at,
            token.last_used_at,
        ),
        nothing="no tokens" if is_all else "no valid tokens: --all includes revoked and expired ones",
        cut=("name",),
        leave_out=("by", "created"),
    )


@command.command("revoke")
@click.argument("ids", metavar="ID|NAME...", nargs=-1, required=True)
@author_option
@output_option
@click.pass_obj
def revoke(config: str, ids: tuple[str, ...], author: str, form: str) -> None:
    """Revoke tokens by id, or all tokens of a person by NAME. Their sessions end at once, on every replica.

    A unique prefix of an id is enough.
    """
    from actionwatch.store import tokens

    now = utc_now()
    with changing_store(config) as (_, database), database.write(is_durable=True) as connection:
        chosen = [token for each in ids for token in _chosen(tokens.find(connection, each), each)]
        count = tokens.revoke(connection, [token.id for token in chosen], author, now)
    print_document({"revoked": count}, form, as_text=lambda: echo(f"{counted(count, 'token')} revoked"))


def _chosen(found: list[AccessToken], given: str) -> list[AccessToken]:
    """Return the tokens that an argument names. Raises: click.ClickException, if there is none, or several by a prefix."""
    if not found or not given:  # all ids begin with an empty text
        raise click.ClickException(f"no token has the id or name {given}: see 'actionwatch tokens list'")
    if len(found) > 1 and found[0].name != given:
        raise click.ClickException(f"several token ids start with {given}: give a longer prefix")
    return found


def _token_document(token: AccessToken, now: datetime) -> dict[str, Any]:
    """Return a token as JSON."""
    return {**asdict(token), "status": token.status(now)}
