"""Registers accounts and logs them in."""

import contextlib
import re
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

from email_validator import EmailNotValidError, validate_email

from contract.accounts import (
    ACCOUNT_AUDIENCE,
    AccessToken,
    AccountResponse,
    AccountState,
    LoginAttempt,
    Registration,
    TokenKeys,
)
from device_registration_api.accounts import commands, lookups
from device_registration_api.accounts.lookups import INSTALLATION, StoredAccount, StoredLogin
from device_registration_api.accounts.passwords import Passwords
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.accounts.throttling import LoginThrottle
from device_registration_api.accounts.tokens import SigningKeys
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.blind_index import Digest, IndexedField
from device_registration_api.personal.pools import PersonalData
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.errors import Conflict, CredentialsRefused, DomainError, Invalid, NotFound, NotRecorded, OutcomeUnknown
from servicekit.process import clock

Result = TypeVar("Result")

_FOUND_BY = (IndexedField.EMAIL,)


class Accounts:
    """The accounts of an installation; one for each process.

    Each method has a deadline, a reading of `time.monotonic`, and raises NotRecorded when a database is away, too many
    passwords are waiting, or the deadline passed; a method that writes may raise OutcomeUnknown.
    """

    def __init__(self, data: PersonalData, signing_keys: SigningKeys) -> None:
        self._data = data
        self._signing_keys = signing_keys
        self._passwords = Passwords()
        self._throttle = LoginThrottle()

    def token_keys(self) -> TokenKeys:
        """Return the public keys that verify the tokens of this installation."""
        return self._signing_keys.published()

    async def register(
        self, registration: Registration, deadline: float, *, is_operator: bool = False
    ) -> AccountResponse:
        """Store a new account, which may log in at once.

        Raises:
            Invalid: the e-mail address is none, or the password is too easy to guess.
            Conflict: there is an account with the e-mail address.
        """
        email, full_name = registration.email, registration.full_name
        _check_email(email)
        # What an attacker would try: the address, the name, and their words.
        known = [email, *re.findall(r"\w+", f"{email} {full_name or ''}")]
        weakness = await self._passwords.weakness(registration.password, known)
        if weakness is not None:
            raise Invalid.single(weakness, "body", "password")
        password_hash = await self._passwords.hash(registration.password)
        now = clock.now()

        def insert(conn: Connection, person_id: UUID) -> None:
            commands.insert(conn, person_id, password_hash, now, is_operator=is_operator)

        try:
            await self._data.people.create(
                INSTALLATION, {"email": email, "full_name": full_name}, _FOUND_BY, _left(deadline), insert
            )
        except Conflict as error:
            raise Conflict("there is an account with this e-mail address") from error
        return AccountResponse(email=email, full_name=full_name, is_active=True, created_at=now)

    async def login(self, login: LoginAttempt, deadline: float) -> AccessToken:
        """Return a token for the account with these credentials.

        Raises:
            CredentialsRefused: the e-mail address is unknown, the password is wrong, or the account is inactive. All
                three have one message and do the same work.
            TooManyRequests: too many attempts have failed.
        """
        digests = [each.digest for each in self._digests(login.email)]
        attempt = self._throttle.begin(digests[0], login.client)
        try:
            found = await self._in_transaction(partial(lookups.login_of, digests=digests), deadline)
            verified = await self._passwords.verify(login.password, None if found is None else found.password_hash)
        except DomainError:
            self._throttle.withdraw(attempt)
            raise
        if found is None or not verified.is_right or not found.is_active:
            raise CredentialsRefused("the e-mail address or the password is wrong")
        self._throttle.succeed(attempt)
        if verified.new_hash is not None:
            await self._replace_hash(found, verified.new_hash, deadline)
        return self._signing_keys.sign(found.account_id, ACCOUNT_AUDIENCE)

    async def account(self, account_id: UUID, deadline: float) -> AccountResponse:
        """Return an account as its owner sees it. Raises NotFound."""
        stored = await self._stored(account_id, deadline)
        people = await self._data.people.read(INSTALLATION, [account_id], _left(deadline))
        if not people:
            raise NotFound("there is no such account")
        fields = people[0].fields
        return AccountResponse.model_validate({**fields, **stored._asdict()})

    async def state(self, account_id: UUID, deadline: float) -> AccountState:
        """Return what an account may do now. Raises NotFound."""
        stored = await self._stored(account_id, deadline)
        return AccountState(is_active=stored.is_active, is_operator=stored.is_operator)

    async def make_operator(self, email: str, deadline: float) -> bool:
        """Make the account with this e-mail address an operator; False if there is none."""
        return await self._change(email, partial(commands.make_operator, now=clock.now()), deadline)

    async def set_active(self, email: str, deadline: float, *, is_active: bool) -> bool:
        """Let the account with this e-mail address log in, or stop it; False if there is none."""
        return await self._change(email, partial(commands.set_active, now=clock.now(), is_active=is_active), deadline)

    def close(self) -> None:
        """Wait for running work."""
        self._passwords.close()
        self._data.close()

    def _digests(self, email: str) -> list[Digest]:
        return self._data.index.digests(INSTALLATION, IndexedField.EMAIL, email)

    async def _stored(self, account_id: UUID, deadline: float) -> StoredAccount:
        stored = await self._in_transaction(partial(lookups.account_of, account_id=account_id), deadline)
        if stored is None:
            raise NotFound("there is no such account")
        return stored

    async def _replace_hash(self, found: StoredLogin, new_hash: str, deadline: float) -> None:
        # The next log-in does it if this one cannot.
        with contextlib.suppress(NotRecorded, OutcomeUnknown):
            await self._in_transaction(
                partial(
                    commands.replace_hash,
                    account_id=found.account_id,
                    old_hash=found.password_hash,
                    new_hash=new_hash,
                ),
                deadline,
            )

    async def _change(self, email: str, change: Callable[[Connection, UUID], None], deadline: float) -> bool:
        digests = [each.digest for each in self._digests(email)]

        def change_found(conn: Connection) -> bool:
            found = lookups.login_of(conn, digests)
            if found is not None:
                change(conn, found.account_id)
            return found is not None

        return await self._in_transaction(change_found, deadline)

    async def _in_transaction(self, work: Callable[[Connection], Result], deadline: float) -> Result:
        def transaction(lease: Lease) -> Result:
            with lease.transaction() as conn:
                return work(conn)

        return await self._data.personal.run(lambda lease: repeat_until_known(lease, transaction), _left(deadline))


def new_accounts(settings: AccountSettings, beside: DatabaseSettings, application: str) -> Accounts | None:
    """Return the accounts of an installation, or None where the operator has not configured them.

    Raises:
        CommandError: a URL is invalid.
    """
    signing_keys = settings.signing_keys()
    return None if signing_keys is None else Accounts(PersonalData(settings, beside, application), signing_keys)


def _left(deadline: float) -> float:
    return deadline - time.monotonic()


def _check_email(email: str) -> None:
    try:
        validate_email(email, check_deliverability=False)
    except EmailNotValidError as error:
        raise Invalid.single(str(error), "body", "email") from None
