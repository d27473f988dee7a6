"""Writes the files that kustomize makes the Secrets of; git ignores them. Standard library only.

python3 k8s/secret_files.py make                    every file that is missing; none is overwritten
python3 k8s/secret_files.py read                    the missing ones as the cluster has them
python3 k8s/secret_files.py rotate service-token    one step of three, each followed by an apply
python3 k8s/secret_files.py rotate logins           new names and passwords, followed by a migration
"""

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import cluster
import terraform_component
from cluster import CommandError

DATABASE = "device_statistics"

Values = dict[str, str]


class SecretFiles:
    """The files of one checkout, which is one installation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.component = folder / terraform_component.PATH
        self.paths = {
            "administrator": folder / "components/secrets/administrator.env",
            "statistics-api": folder / "components/secrets/statistics-api.env",
            "device-registration-api": folder / "components/secrets/device-registration-api.env",
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
    made = _new_values(files, administrator_url)
    for name in missing:
        files.write(name, made[name], new=True)
    if not missing:
        print("every secret is there")
    if not files.component.exists():
        _write_component(files)


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
    token = private.get("SERVICE_TOKEN") or public.get("SERVICE_TOKEN") or secrets.token_hex(24)
    return {
        "administrator": {"DATABASE_URL": administrator_url or own_server} | _logins(writer, reader),
        "statistics-api": reader | {"SERVICE_TOKEN": public.get("SERVICE_TOKEN") or token},
        "device-registration-api": writer | {"SERVICE_TOKEN": token},
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


def rotate_logins(files: SecretFiles) -> None:
    """New login roles and passwords for both services; the old ones go on working until they are dropped by hand."""
    _need_all(files)
    public, private = files.read("statistics-api"), files.read("device-registration-api")
    before = private["DB_USER"], public["DB_USER"]
    private |= {"DB_USER": _other(private["DB_USER"]), "DB_PASSWORD": secrets.token_hex(24)}
    public |= {"DB_USER": _other(public["DB_USER"]), "DB_PASSWORD": secrets.token_hex(24)}
    administrator = files.read("administrator") | _logins(private, public)
    # The migration's file is first: after an interruption here, new logins exist and are not used yet.
    files.write("administrator", administrator, new=False)
    files.write("device-registration-api", private, new=False)
    files.write("statistics-api", public, new=False)
    print(f"delete the migration Job, apply, wait for the roll-outs, then drop {before[0]} and {before[1]}")


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
