"""`verify-bundle`: verify an evidence bundle, without a store and without a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.options import FILE, output_option
from actionwatch.cli.output import echo, print_document, spell
from actionwatch.text.times import local_times

if TYPE_CHECKING:
    from actionwatch.service.bundle_checking import BundleVerification


@click.command("verify-bundle")
@click.argument("file", type=FILE)
@click.option(
    "--key",
    metavar="PUBLIC",
    type=FILE,
    help="The public key of the signer: Ed25519, PEM. Needs the extra `sign`.",
)
@output_option
def command(file: Path, key: Path | None, form: str) -> int:
    """Verify FILE, which `records export --bundle` wrote: nothing was changed, and the records are those of the receipts.

    Without --key, this shows only that the bundle was not damaged by accident: anyone who changes it can compute its digests
    again. Compare the digest of its SHA256SUMS with one from another source, or verify its signature.

    Names whatever was changed, added or moved, or is missing, and then exits with 1.
    """
    from actionwatch.service.bundle_checking import check_bundle

    checked = check_bundle(file, key)
    document = {
        "file": str(file),
        "is_intact": not checked.faults,
        "faults": list(checked.faults),
        "has_signature": checked.has_signature,
        "is_signed": checked.is_signed,
        "digest": checked.digest,
        "records": checked.record_count,
        "receipts": checked.receipt_count,
        "from": checked.manifest.get("from"),
        "to": checked.manifest.get("to"),
        "proof": checked.manifest.get("proof", []),
        "head": checked.manifest.get("head"),
    }
    print_document(document, form, as_text=lambda: _print(checked, file, key))
    return EXIT_FAILED if checked.faults else 0


def _print(checked: BundleVerification, file: Path, key: Path | None) -> None:
    for fault in checked.faults:
        echo(f"{file}: {local_times(fault)}", err=True)
    if checked.faults:
        return
    for source in checked.manifest["proof"]:
        echo(local_times(source["statement"]))
    counts = f"{counted(checked.record_count, 'record')} and {counted(checked.receipt_count, 'receipt')}"
    echo(f"{spell(file)}: every part agrees with its digest, and {counts} agree; {_signature(checked, key)}")
    if "head" in checked.manifest:
        echo(f"newest seal of its store, for 'actionwatch store verify --head': {checked.manifest['head']}")
    echo(f"SHA-256 of its SHA256SUMS, which covers everything: {checked.digest}")


def _signature(checked: BundleVerification, key: Path | None) -> str:
    if checked.is_signed:
        return f"signed by the owner of {key}"
    return "its signature was not verified: add --key" if checked.has_signature else "it is not signed"
