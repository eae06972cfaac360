"""Limit how often an address may send a wrong token, because the shared token may be one that can be guessed."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import threading
from collections import deque
from collections.abc import Callable

ATTEMPT_SECONDS = 60.0
MAX_ATTEMPTS = 10  # failed ones of one address within that time: people who mistype need fewer
MAX_ALL_ATTEMPTS = 100  # of all addresses together
HOUR_SECONDS = 3600.0
MAX_HOURLY_ATTEMPTS = 60  # failed ones of one address, so that slow guessing does not help either
MAX_REMEMBERED = 10_000  # failed attempts within an hour, so that they do not fill the memory


class TooManyAttempts(Exception):
    """Too many wrong tokens came from an address, or from all together."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many attempts failed: wait {seconds:.0f} seconds, then try again")


class Attempts:
    """Counts wrong tokens. Safe to share between threads; each process counts its own."""

    def __init__(
        self,
        elapsed: Callable[[], float],
        hourly: float = math.inf,
        of_all: float = math.inf,
    ) -> None:
        """`elapsed` reads a monotonic clock in seconds. `hourly` is how many may fail from one address within an hour,
        `of_all` from all addresses within a minute.
        """
        self._elapsed = elapsed
        self._hourly = hourly
        self._of_all = of_all
        self._lock = threading.Lock()
        self._failures: deque[tuple[float, str]] = deque(maxlen=MAX_REMEMBERED)

    def attempt(self, address: str, is_right: Callable[[], bool]) -> bool:
        """Let an address try. Return whether it was right. Raises: TooManyAttempts."""
        with self._lock:  # until it is counted, so that no other attempt is let through meanwhile
            self._check(address)
            if is_right():
                return True
            self._failures.append((self._elapsed(), _owner_of(address)))
            return False

    def _check(self, address: str) -> None:
        now = self._elapsed()
        while self._failures and now - self._failures[0][0] >= HOUR_SECONDS:
            self._failures.popleft()
        owner = _owner_of(address)
        of_owner = [at for at, each in self._failures if each == owner]
        if len(of_owner) >= self._hourly:
            raise TooManyAttempts(of_owner[0] + HOUR_SECONDS - now)
        recent = [each for at, each in self._failures if now - at < ATTEMPT_SECONDS]
        if recent.count(owner) >= MAX_ATTEMPTS or len(recent) >= self._of_all:
            raise TooManyAttempts(ATTEMPT_SECONDS)


def _owner_of(address: str) -> str:
    """Return the addresses that one client can use: one, or in IPv6 a network of 2^64."""
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address)
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address
