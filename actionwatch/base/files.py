"""Open the files that the configuration and the rules name: secrets, certificates, rules, lists, silences, templates.

Also write new files that are complete when they get their name.

Whoever may write into one of their folders must not make actionwatch read a secret, a device or a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

MAX_PEM_BYTES = 4 * 1024 * 1024  # the authorities that systems trust have 0.2 MB
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}  # a socket cannot be opened


class UnsuitableFile(OSError):
    """A file that is not opened. `strerror` says what it is, and `remedy` what to do."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(errno.EINVAL, what, str(path))
        self.remedy = remedy


def open_regular(path: Path, limit: int, folder: Path | None = None) -> BinaryIO:
    """Open a regular file of at most `limit` bytes; the caller closes it.

    With `folder`, the file must be in it after all links are followed: the links of a Kubernetes volume stay inside.

    Raises: OSError; UnsuitableFile, which is one.
    """
    # Follow the links first, so that what is checked is what is opened: a link in place of the file fails (O_NOFOLLOW).
    real = Path(os.path.realpath(path))
    if folder is not None and not real.is_relative_to(os.path.realpath(folder)):
        raise UnsuitableFile(path, f"outside the folder {folder}", "copy it into the folder instead of linking to it")
    # Without O_NONBLOCK, opening a FIFO waits for its writer.
    opened = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(opened)
        if kind := _KINDS.get(stat.S_IFMT(found.st_mode)):
            raise UnsuitableFile(path, f"{kind}, not a regular file", "put a regular file there")
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        _check_size(path, found.st_size, limit)
        return os.fdopen(opened, "rb")
    except BaseException:
        os.close(opened)
        raise


def read_regular(path: Path, limit: int, folder: Path | None = None) -> bytes:
    """Read a file that `open_regular` accepts.

    Raises: OSError; UnsuitableFile, which is one.
    """
    with open_regular(path, limit, folder) as file:
        data = file.read(limit + 1) or b""  # None: a file of /proc that has nothing now
    _check_size(path, len(data), limit)  # it may grow, and files of /proc have the size 0
    return data


@contextlib.contextmanager
def draft_beside(target: Path) -> Iterator[Path]:
    """Create an empty file in the folder of `target`, readable by its owner alone. Remove it at the end if it is left."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for end in ("", "-journal"):  # of SQLite
            Path(name + end).unlink(missing_ok=True)


def give_name(draft: Path, target: Path) -> None:
    """Give a complete file its name, durably, and never that of another file.

    Raises: FileExistsError; OSError.
    """
    # Not a hard link, which network folders often refuse; and a rename alone would replace a file.
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    draft.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, so that they survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_state(found: os.stat_result) -> tuple[int, ...]:
    """Return the times, size and identity of a file. They differ when the file has changed."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


def file_states(paths: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Return the state of each file at these paths and in these folders. The state of a missing path is empty."""
    states: dict[str, tuple[int, ...]] = {}
    pending = [str(path) for path in paths]
    while pending:
        path = pending.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):  # as the readers do; two links to `.` have no end
                        pending.append(entry.path)
                    else:
                        with contextlib.suppress(OSError):
                            states[entry.path] = file_state(entry.stat())
        except NotADirectoryError:
            with contextlib.suppress(OSError):
                states[path] = file_state(Path(path).stat())
        except OSError:
            states[path] = ()
    return states


def _check_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise UnsuitableFile(path, f"larger than {limit} bytes", "split it, or correct the path")
