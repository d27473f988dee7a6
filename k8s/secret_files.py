"""Writes the files that kustomize makes the Secrets of; git ignores them. Standard library only.

python3 k8s/secret_files.py make                    every file and setting that is missing; no value is overwritten
python3 k8s/secret_files.py read                    the missing ones as the cluster has them
python3 k8s/secret_files.py rotate service-token    one step of three, each followed by an apply
python3 k8s/secret_files.py rotate personal-keks    one step of three, each followed by an apply
python3 k8s/secret_files.py rotate token-keys       one step of three, each followed by an apply
python3 k8s/secret_files.py rotate logins           new names and passwords, followed by a migration
"""

import base64
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import cluster
import terraform_component
from cluster import CommandError

DATABASE = "device_statistics"
PERSONAL_LOGIN = ("PERSONAL_DB_USER", "PERSONAL_DB_PASSWORD")
KEY_LISTS = ("PERSONAL_KEKS", "PERSONAL_INDEX_KEYS", "TOKEN_SIGNING_KEYS")
# What a file of a release before personal data lacks.
ADDED = {"administrator": PERSONAL_LOGIN, "device-registration-api": (*PERSONAL_LOGIN, *KEY_LISTS)}

Values = dict[str, str]


class SecretFiles:
    """The files of one checkout, which is one installation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.component = folder / terraform_component.PATH
        self.paths = {
            # The first one: it alone has the keys of personal data, so it is never made for others that are there.
            "device-registration-api": folder / "components/secrets/device-registration-api.env",
            "administrator": folder / "components/secrets/administrator.env",
            "statistics-api": folder / "components/secrets/statistics-api.env",
            "postgres": folder / "components/postgres/postgres.env",
        }

    def missing(self) -> list[str]:
        """The names of those that are not there."""
        return [name for name, path in self.paths.items() if not path.exists()]

    def read(self, name: str) -> Values:
        """What is in a file; nothing when it is not there."""
        path = self.paths[name]
        if not path.exists():
            return {}
        pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        return {key: value for key, value in pairs if not key.startswith("#")}

    def write(self, name: str, values: Mapping[str, str], *, new: bool) -> None:
        """Whole or not at all, readable by its owner alone. A `new` file replaces no other."""
        self._write(self.paths[name], "".join(f"{key}={value}\n" for key, value in values.items()), 0o600, new=new)

    def write_component(self, text: str) -> None:
        """The component of Terraform, which holds no secret; one that is there stays."""
        self.component.parent.mkdir(parents=True, exist_ok=True)
        self._write(self.component, text, 0o644, new=True)

    def _write(self, path: Path, text: str, mode: int, *, new: bool) -> None:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if new:
                os.link(partial, path)  # unlike a rename, refuses to replace
            else:
                partial.replace(path)
        except FileExistsError as error:
            raise CommandError(f"{path.name} is there by now, and stays as it is") from error
        finally:
            partial.unlink(missing_ok=True)
        print(f"{path.relative_to(self._folder.parent)}: written")


def make(files: SecretFiles, administrator_url: str | None) -> None:
    """Write what is missing. What several files say is taken from those that are there."""
    missing = files.missing()
    if administrator_url is not None and "postgres" in missing:
        missing.remove("postgres")  # a server that is managed by somebody else
    if missing and _in_cluster("administrator"):
        raise CommandError(
            "the cluster has secrets already, and new ones would not open its database: "
            "use `make k8s-secrets FROM=cluster`"
        )
    if "device-registration-api" in missing and files.read("administrator").get("PERSONAL_DB_USER"):
        raise CommandError(
            "the keys of personal data are in device-registration-api.env alone, and new ones would open nothing: "
            "put your copy of the file back, or use `make k8s-secrets FROM=cluster`"
        )
    _add_missing_settings(files)
    made = _new_values(files, administrator_url)
    for name in missing:
        files.write(name, made[name], new=True)
    if not missing:
        print("every secret is there")
    if not files.component.exists():
        _write_component(files)


def _add_missing_settings(files: SecretFiles) -> None:
    """Add the settings of personal data to files of an earlier release: as the cluster has them, else new ones."""
    there = {name: files.read(name) for name in ADDED if files.paths[name].exists()}
    lacking = [name for name, values in there.items() if not values.keys() >= {*ADDED[name]}]
    if not lacking:
        return
    known = _personal_data_in_use() | _personal_data(files)
    if "device-registration-api" in lacking:
        for key in KEY_LISTS:
            known.setdefault(key, _new_key_list(key))
    known.setdefault("PERSONAL_DB_USER", f"{DATABASE}_personal_a")
    known.setdefault("PERSONAL_DB_PASSWORD", secrets.token_hex(24))
    for name in lacking:
        files.write(name, there[name] | {key: known[key] for key in ADDED[name]}, new=False)


def _personal_data_in_use() -> Values:
    """The settings of personal data that a cluster has already: new keys would not open what is there."""
    try:
        name = cluster.secret_in_use("device-registration-api")
        found = cluster.secret(name) if name is not None else None
    except CommandError as error:
        print(f"not compared with a cluster: {error}")
        return {}
    return {key: value for key, value in (found or {}).items() if key in ADDED["device-registration-api"]}


def _personal_data(files: SecretFiles) -> Values:
    """The settings of personal data that the files have, the private service's first."""
    administrator, private = files.read("administrator"), files.read("device-registration-api")
    both = administrator | private
    return {key: both[key] for key in ADDED["device-registration-api"] if both.get(key)}


def _new_key_list(name: str, number: int = 1) -> str:
    """A list of one key of 32 bytes; the id of a key that signs tokens begins with the number."""
    if name == "TOKEN_SIGNING_KEYS":
        # Whoever remembers the public keys of an installation that was deleted must not take this one for its own.
        return f"{number}-{secrets.token_hex(4)}:{secrets.token_urlsafe(32)}"
    return f"{number}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _new_values(files: SecretFiles, administrator_url: str | None) -> dict[str, Values]:
    """The content of every file; whatever is in one of them already stays."""
    administrator, postgres = files.read("administrator"), files.read("postgres")
    public, private = files.read("statistics-api"), files.read("device-registration-api")
    password = postgres.get("POSTGRES_PASSWORD") or secrets.token_hex(24)
    own_server = f"postgresql://postgres:{quote(password, safe='')}@postgres:5432/{DATABASE}"
    writer = {
        "DB_USER": private.get("DB_USER") or administrator.get("WRITER_DB_USER") or f"{DATABASE}_writer_a",
        "DB_PASSWORD": private.get("DB_PASSWORD") or administrator.get("WRITER_DB_PASSWORD") or secrets.token_hex(24),
    }
    reader = {
        "DB_USER": public.get("DB_USER") or administrator.get("READER_DB_USER") or f"{DATABASE}_reader_a",
        "DB_PASSWORD": public.get("DB_PASSWORD") or administrator.get("READER_DB_PASSWORD") or secrets.token_hex(24),
    }
    personal = {
        "PERSONAL_DB_USER": f"{DATABASE}_personal_a",
        "PERSONAL_DB_PASSWORD": secrets.token_hex(24),
        **{name: _new_key_list(name) for name in KEY_LISTS},
        **_personal_data(files),
    }
    login = {name: personal[name] for name in PERSONAL_LOGIN}
    token = private.get("SERVICE_TOKEN") or public.get("SERVICE_TOKEN") or secrets.token_hex(24)
    return {
        "administrator": {"DATABASE_URL": administrator_url or own_server} | _logins(writer, reader) | login,
        "statistics-api": reader | {"SERVICE_TOKEN": public.get("SERVICE_TOKEN") or token},
        "device-registration-api": writer | {"SERVICE_TOKEN": token} | personal,
        "postgres": {"POSTGRES_PASSWORD": password},
    }


def _logins(writer: Values, reader: Values) -> Values:
    return {
        "WRITER_DB_USER": writer["DB_USER"],
        "WRITER_DB_PASSWORD": writer["DB_PASSWORD"],
        "READER_DB_USER": reader["DB_USER"],
        "READER_DB_PASSWORD": reader["DB_PASSWORD"],
    }


def read_from_cluster(files: SecretFiles) -> None:
    """Write what is missing, as the running deployment has it."""
    missing = files.missing()
    if not missing:
        print("every secret is there")
    for name in missing:
        secret = name if name in {"administrator", "postgres"} else cluster.secret_in_use(name)
        values = cluster.secret(secret) if secret is not None else None
        if values is None and name == "postgres":
            print("postgres: the cluster has no server of its own")
        elif values is None:
            raise CommandError(f"the cluster has no secret for {name}")
        else:
            files.write(name, values, new=True)
    if not files.component.exists():
        files.write_component(_component_in_use())


def rotate_service_token(files: SecretFiles) -> None:
    """One step: the private service accepts both tokens; the public one shows the new one; the old one is forgotten."""
    _need_all(files)
    public, private = files.read("statistics-api"), files.read("device-registration-api")
    shown, accepted, before = (
        public["SERVICE_TOKEN"],
        private["SERVICE_TOKEN"],
        private.get("SERVICE_TOKEN_PREVIOUS"),
    )
    if before is None and shown == accepted:
        renewed = private | {"SERVICE_TOKEN": secrets.token_hex(24), "SERVICE_TOKEN_PREVIOUS": shown}
        files.write("device-registration-api", renewed, new=False)
        print("step 1 of 3: apply, wait until device-registration-api is rolled out, then rotate again")
    elif before is not None and shown == before:
        files.write("statistics-api", public | {"SERVICE_TOKEN": accepted}, new=False)
        print("step 2 of 3: apply, wait until statistics-api is rolled out, then rotate again")
    elif before is not None and shown == accepted:
        del private["SERVICE_TOKEN_PREVIOUS"]
        files.write("device-registration-api", private, new=False)
        print("step 3 of 3: apply; from then on the old token is refused")
    else:
        raise CommandError("the two services' files do not belong together: no token is both shown and accepted")


def rotate_key_list(files: SecretFiles, name: str, before_the_last: str) -> None:
    """One step: every pod knows the new key, then uses it, then forgets the old one.

    The new key is not the first one at once: while pods are replaced, an old pod meets what a new one has written.
    """
    _need_all(files)
    _add_missing_settings(files)
    private = files.read("device-registration-api")
    keys = private[name].split(",")
    numbers = [_number_of(key) for key in keys]
    if len(keys) == 1:
        keys.append(_new_key_list(name, numbers[0] + 1))
        step = "step 1 of 3: apply, wait until device-registration-api is rolled out, then rotate again"
    elif len(keys) == 2 and numbers[0] < numbers[1]:  # noqa: PLR2004 - the old key and the new one
        keys.reverse()
        step = f"step 2 of 3: apply, wait for the roll-out, {before_the_last}, then rotate again"
    elif len(keys) == 2 and numbers[0] > numbers[1]:  # noqa: PLR2004
        del keys[1]
        step = "step 3 of 3: apply, and destroy every copy of the key that is gone"
    else:
        message = f"{name} is not one key, or an old and a new one with a higher number: edit the file by hand"
        raise CommandError(message)
    files.write("device-registration-api", private | {name: ",".join(keys)}, new=False)
    print(step)


def _number_of(key: str) -> int:
    number = re.match(r"[0-9]+", key)
    if number is None:
        raise CommandError("a key's id does not begin with a number: edit the file by hand")
    return int(number[0])


def rotate_logins(files: SecretFiles) -> None:
    """New login roles and passwords for both services; the old ones go on working until they are dropped by hand."""
    _need_all(files)
    _add_missing_settings(files)
    public, private = files.read("statistics-api"), files.read("device-registration-api")
    before = private["DB_USER"], private["PERSONAL_DB_USER"], public["DB_USER"]
    private |= {"DB_USER": _other(private["DB_USER"]), "DB_PASSWORD": secrets.token_hex(24)}
    login = {"PERSONAL_DB_USER": _other(private["PERSONAL_DB_USER"]), "PERSONAL_DB_PASSWORD": secrets.token_hex(24)}
    private |= login
    public |= {"DB_USER": _other(public["DB_USER"]), "DB_PASSWORD": secrets.token_hex(24)}
    administrator = files.read("administrator") | _logins(private, public) | login
    # The migration's file is first: after an interruption here, new logins exist and are not used yet.
    files.write("administrator", administrator, new=False)
    files.write("device-registration-api", private, new=False)
    files.write("statistics-api", public, new=False)
    print(f"delete the migration Job, apply, wait for the roll-outs, then drop {', '.join(before)}")


def _other(login: str) -> str:
    """The one of two names that is not in use."""
    stem, _, letter = login.rpartition("_")
    return f"{stem}_{'b' if letter == 'a' else 'a'}" if letter in {"a", "b"} and stem else f"{login}_b"


def _need_all(files: SecretFiles) -> None:
    needed = [name for name in files.missing() if name != "postgres"]
    if needed:
        raise CommandError(
            f"there is no file yet for {', '.join(needed)}: `make k8s-secrets` first, FROM=cluster if it runs"
        )


def _in_cluster(name: str) -> bool:
    try:
        return cluster.get("secret", name) is not None
    except CommandError as error:
        print(f"not compared with a cluster: {error}")
        return False


def _write_component(files: SecretFiles) -> None:
    try:
        text = _component_in_use()
    except CommandError:
        # No cluster answers: `_in_cluster` has said so, unless every secret was there.
        print("what Terraform has built is not known here: dumps stay in the cluster until `terraform apply`")
        text = terraform_component.content(None, database_nodes=False)
    files.write_component(text)


def _component_in_use() -> str:
    return terraform_component.content(cluster.bucket_in_use(), database_nodes=cluster.has_database_nodes())


def main(arguments: Sequence[str], environment: Mapping[str, str], folder: Path = Path(__file__).parent) -> int:
    """Do what the arguments say and return the exit code."""
    files = SecretFiles(folder)
    commands: dict[tuple[str, ...], Callable[[], None]] = {
        ("make",): lambda: make(files, environment.get("ADMINISTRATOR_URL") or None),
        ("read",): lambda: read_from_cluster(files),
        ("rotate", "service-token"): lambda: rotate_service_token(files),
        ("rotate", "personal-keks"): lambda: rotate_key_list(
            files, "PERSONAL_KEKS", "run `rotate-keys` until no key is under another KEK"
        ),
        ("rotate", "token-keys"): lambda: rotate_key_list(
            files, "TOKEN_SIGNING_KEYS", "wait until every token of the old key has expired"
        ),
        ("rotate", "logins"): lambda: rotate_logins(files),
    }
    command = commands.get(tuple(arguments))
    if command is None:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        command()
    except CommandError as error:
        print(f"k8s-secrets: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
