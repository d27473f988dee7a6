"""Registers accounts and logs them in."""

import contextlib
import re
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import NamedTuple, TypeVar
from uuid import UUID

from contract.accounts import (
    AccessToken,
    AccountResponse,
    AccountState,
    LoginAttempt,
    OwnAccount,
    RegistrationAttempt,
    TokenKeys,
)
from contract.tokens import ProjectToken
from device_registration_api.accounts import commands, lookups
from device_registration_api.accounts.lookups import INSTALLATION, StoredAccount, StoredLogin
from device_registration_api.accounts.passwords import Passwords
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.accounts.throttling import LoginThrottle
from device_registration_api.accounts.tokens import SigningKeys
from device_registration_api.events.recording import KEY_REUSED
from device_registration_api.personal.addresses import check_email
from device_registration_api.personal.blind_index import Digest, IndexedField
from device_registration_api.personal.pools import PersonalData
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.errors import (
    Conflict,
    CredentialsRefused,
    DomainError,
    IdempotencyKeyReused,
    Invalid,
    NotFound,
    NotRecorded,
    OutcomeUnknown,
)
from servicekit.process import clock

Result = TypeVar("Result")

_FOUND_BY = (IndexedField.EMAIL,)


class Registered(NamedTuple):
    """An account as it was registered, and whether that was an earlier request with the same idempotency key."""

    account: AccountResponse
    is_replay: bool


class Accounts:
    """The accounts of an installation; one for each process.

    Each method has a deadline, a reading of `time.monotonic`, and raises NotRecorded when a database is away, too many
    passwords are waiting, or the deadline passed; a method that writes may raise OutcomeUnknown.
    """

    def __init__(self, data: PersonalData, signing_keys: SigningKeys) -> None:
        """`data` is the caller's, who closes it."""
        self._data = data
        self._signing_keys = signing_keys
        self._passwords = Passwords()
        self._throttle = LoginThrottle()

    def token_keys(self) -> TokenKeys:
        """Return the public keys that verify the tokens of this installation."""
        return self._signing_keys.published()

    async def register(
        self, registration: RegistrationAttempt, deadline: float, *, is_operator: bool = False
    ) -> Registered:
        """Store a new account, which may log in at once; a repeat under the same idempotency key gets the same answer.

        Raises:
            Invalid: the e-mail address is none, or the password is too easy to guess.
            Conflict: there is an account with the e-mail address.
            IdempotencyKeyReused: the key was used for another registration.
            TooManyRequests: too many repeats had another password.
        """
        email, full_name = registration.email, registration.full_name
        check_email(email)
        repeated = await self._repeated(registration, deadline)
        if repeated is not None:
            return repeated
        # What an attacker would try: the address, the name, and their parts.
        written = [email, email.partition("@")[0], full_name or ""]
        known = [each for part in written for each in (part, *re.findall(r"\w+", part)) if each]
        weakness = await self._passwords.weakness(registration.password, known)
        if weakness is not None:
            raise Invalid.single(weakness, "body", "password")
        password_hash = await self._passwords.hash(registration.password)
        now, digest = clock.now(), _key_digest(registration)

        def insert(conn: Connection, person_id: UUID) -> None:
            commands.insert(conn, person_id, password_hash, now, is_operator=is_operator)
            if digest is not None and not commands.insert_key(conn, person_id, digest, now):
                raise IdempotencyKeyReused(KEY_REUSED)

        try:
            await self._data.people.create(
                INSTALLATION, {"email": email, "full_name": full_name}, _FOUND_BY, _left(deadline), insert
            )
        except Conflict as error:
            # The same request, sent twice at once, may have won.
            repeated = await self._repeated(registration, deadline)
            if repeated is not None:
                return repeated
            raise Conflict("there is an account with this e-mail address") from error
        account = AccountResponse(email=email, full_name=full_name, is_active=True, created_at=now)
        return Registered(account, is_replay=False)

    async def _repeated(self, registration: RegistrationAttempt, deadline: float) -> Registered | None:
        """Return the first answer to a registration under this key; None if there was none."""
        digest = _key_digest(registration)
        if digest is None:
            return None
        now = clock.now()
        found = await self._in_transaction(partial(lookups.registered_under, digest=digest, now=now), deadline)
        if found is None:
            return None
        # The stored password is no fingerprint that may be compared quickly, and a key is no way around the throttle.
        attempt = self._throttle.begin(digest, "")
        try:
            account = await self.account(found.account_id, deadline)
            verified = await self._passwords.verify(registration.password, found.password_hash)
        except DomainError:
            self._throttle.withdraw(attempt)
            raise
        if not verified.is_right or (account.email, account.full_name) != (registration.email, registration.full_name):
            raise IdempotencyKeyReused(KEY_REUSED)
        self._throttle.withdraw(attempt)
        shown = account.model_dump(include={*AccountResponse.model_fields}) | {"is_active": True}
        return Registered(AccountResponse.model_validate(shown), is_replay=True)

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
        return self._signing_keys.sign_for_account(found.account_id)

    def project_token(self, project_id: int, key_id: str) -> ProjectToken:
        """Return a token for a project, in exchange for this API key of it, which the caller has verified."""
        return self._signing_keys.sign_for_project(project_id, key_id)

    async def account(self, account_id: UUID, deadline: float) -> OwnAccount:
        """Return an account as its owner sees it. Raises NotFound."""
        stored = await self._stored(account_id, deadline)
        people = await self._data.people.read(INSTALLATION, [account_id], _left(deadline))
        if not people:
            raise NotFound("there is no such account")
        fields = people[0].fields
        return OwnAccount.model_validate({**fields, **stored._asdict(), "id": account_id})

    async def state(self, account_id: UUID, deadline: float) -> AccountState:
        """Return what an account may do now. Raises NotFound."""
        stored = await self._stored(account_id, deadline)
        return AccountState(is_active=stored.is_active, is_operator=stored.is_operator)

    async def find(self, email: str, deadline: float) -> UUID:
        """Return the id of the active account with this e-mail address. Raises NotFound."""
        digests = [each.digest for each in self._digests(email)]
        found = await self._in_transaction(partial(lookups.login_of, digests=digests), deadline)
        if found is None or not found.is_active:
            raise NotFound("no account has this e-mail address")
        return found.account_id

    async def make_operator(self, email: str, deadline: float) -> bool:
        """Make the account with this e-mail address an operator; False if there is none."""
        return await self._change(email, partial(commands.make_operator, now=clock.now()), deadline)

    async def set_active(self, email: str, deadline: float, *, is_active: bool) -> bool:
        """Let the account with this e-mail address log in, or stop it; False if there is none."""
        return await self._change(email, partial(commands.set_active, now=clock.now(), is_active=is_active), deadline)

    def close(self) -> None:
        """Wait for running work."""
        self._passwords.close()

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


def new_accounts(settings: AccountSettings, data: PersonalData | None) -> Accounts | None:
    """Return the accounts of an installation, or None where the operator has not configured them."""
    signing_keys = settings.signing_keys()
    return None if signing_keys is None or data is None else Accounts(data, signing_keys)


def _left(deadline: float) -> float:
    return deadline - time.monotonic()


def _key_digest(registration: RegistrationAttempt) -> bytes | None:
    key = registration.idempotency_key
    return None if key is None else sha256(key.encode()).digest()
