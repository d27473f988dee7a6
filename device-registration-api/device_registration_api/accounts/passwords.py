"""Hashes and estimates passwords: a bounded number at once, because each costs 19 MiB and tens of milliseconds."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from device_registration_api.accounts import strength
from servicekit.errors import Overloaded

# With these, one hash takes 19 MiB and some 40 ms. The library's defaults take 64 MiB and 200 ms.
MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
AT_ONCE_MAX = 2
WAITING_MAX = 16
WAIT_SECONDS_MAX = 2.0

Result = TypeVar("Result")


class Verified(NamedTuple):
    """Whether the password is right, and its new hash where the stored one has older parameters."""

    is_right: bool
    new_hash: str | None = None


class Passwords:
    """The work on passwords of one process, in threads of its own. Each method may wait for its turn.

    Each raises Overloaded when too many are waiting, or its turn did not come in WAIT_SECONDS_MAX.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        # For an account that does not exist: verifying it takes as long as verifying a real one.
        self._dummy = self._hasher.hash("no account has this password")
        self._threads = ThreadPoolExecutor(AT_ONCE_MAX, thread_name_prefix="password")
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the password's hash with Argon2id, as text with its parameters and its salt."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, stored: str | None) -> Verified:
        """Compare a password with a stored hash. Without one, do the same work and return that it is wrong."""

        def compare() -> Verified:
            try:
                self._hasher.verify(self._dummy if stored is None else stored, password)
            except (VerificationError, InvalidHashError):
                return Verified(is_right=False)
            if stored is None:
                return Verified(is_right=False)
            is_old = self._hasher.check_needs_rehash(stored)
            return Verified(is_right=True, new_hash=self._hasher.hash(password) if is_old else None)

        return await self._run(compare)

    async def weakness(self, password: str, known: Sequence[str]) -> str | None:
        """Return what `strength.weakness` does."""
        return await self._run(lambda: strength.weakness(password, known))

    def close(self) -> None:
        """Wait for the work that is under way."""
        self._threads.shutdown(cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= WAITING_MAX:
            raise Overloaded("too many passwords are waiting to be checked")
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Overloaded("too many passwords are waiting to be checked") from error
        finally:
            self._waiting -= 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The turn ends with the thread, and not with a caller who went away.
        running.add_done_callback(lambda _: self._turns.release())
        return await asyncio.shield(running)
