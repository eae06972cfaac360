"""Evidence bundles in tests: keys, and what somebody who knows the format can make of one."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

from actionwatch.text import bundle
from tests.children import run_child


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Make a private and a public key, as the documentation says."""
    private, public = folder / "key.pem", folder / "public.pem"
    for command in (
        ("genpkey", "-algorithm", "ed25519", "-out", str(private)),
        ("pkey", "-in", str(private), "-pubout", "-out", str(public)),
    ):
        assert run_child(["openssl", *command]).returncode == 0
    return private, public


def parts_of(data: bytes) -> dict[str, bytes]:
    """Return the bytes of each part."""
    file = io.BytesIO(data)
    return {name: b"".join(bundle.chunks(file, part)) for name, part in bundle.read_parts(file).items()}


def joined(parts: Mapping[str, bytes]) -> bytes:
    """Return the archive of these parts, in their order, whatever they are."""
    return ended(blocks_of(parts))


def blocks_of(parts: Mapping[str, bytes]) -> bytes:
    """Return the blocks of these parts."""
    return b"".join(bundle.header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in parts.items())


def ended(blocks: bytes) -> bytes:
    """Return an archive of these blocks."""
    return blocks + bundle.end_after(len(blocks))


def forged(data: bytes, changes: Mapping[str, bytes]) -> bytes:
    """Return the bundle with other parts, and with all digests computed again, but without the key of the signature."""
    parts = parts_of(data) | dict(changes)
    lines = [(name, n, line) for name in bundle.LINES for n, line in enumerate(parts[name].splitlines(True), start=1)]
    digests = "".join(f"{hashlib.sha256(line).hexdigest()}  {name}:{number}\n" for name, number, line in lines)
    parts[bundle.DIGESTS] = digests.encode()
    manifest = json.loads(parts[bundle.MANIFEST])
    for part in manifest["parts"]:
        text = parts[part["name"]]
        part |= {"sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text)}
    parts[bundle.MANIFEST] = json.dumps(manifest).encode()
    parts[bundle.SUMS] = bundle.to_sums({name: hashlib.sha256(parts[name]).hexdigest() for name in bundle.SUMMED})
    return joined(parts)
