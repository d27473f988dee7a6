"""Writes the files that kustomize makes the Secrets of; git ignores them. Standard library only.

python3 k8s/secret_files.py make                    every file that is missing; none is overwritten
python3 k8s/secret_files.py read                    the missing ones as the cluster has them
python3 k8s/secret_files.py rotate service-token    one step of three, each followed by an apply
python3 k8s/secret_files.py rotate logins           new names and passwords, followed by a migration
"""

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

NAMESPACE = "device-statistics"
KUBECTL_SECONDS_MAX = 20
DATABASE = "device_statistics"

Values = dict[str, str]


class CommandError(Exception):
    """The command changed nothing; the message is one sentence for the operator."""


class SecretFiles:
    """The files of one checkout, which is one installation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bucket = folder / "components/backup-to-s3/bucket.env"
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
        """Whole or not at all, readable by its owner alone. A `new` file takes nobody's place."""
        path = self.paths[name]
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.writelines(f"{key}={value}\n" for key, value in values.items())
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
    if not files.bucket.exists():
        print("components/backup-to-s3/bucket.env is not there: `terraform apply` writes it")
    missing = files.missing()
    if administrator_url is not None and "postgres" in missing:
        missing.remove("postgres")  # a server that is managed by somebody else
    if not missing:
        print("every file is there")
        return
    if _in_cluster("administrator"):
        raise CommandError(
            "the cluster has secrets already, and new ones would not open its database: "
            "use `make k8s-secrets FROM=cluster`"
        )
    made = _new_values(files, administrator_url)
    for name in missing:
        files.write(name, made[name], new=True)


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
        print("every file is there")
    for name in missing:
        secret = _name_in_use(name)
        values = _secret(secret) if secret is not None else None
        if values is None and name == "postgres":
            print("postgres: the cluster has no server of its own")
        elif values is None:
            raise CommandError(f"the cluster has no secret for {name}")
        else:
            files.write(name, values, new=True)


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
    # The migration's first: whoever is interrupted here has logins that are made and not used yet.
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


def _name_in_use(name: str) -> str | None:
    """A service's secret is named after its content: the one that its Deployment refers to."""
    if name in {"administrator", "postgres"}:
        return name
    deployment = _kubectl("get", "deployment", name)
    if deployment is None:
        return None
    sources = deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    return next((str(each["secretRef"]["name"]) for each in sources if "secretRef" in each), None)


def _secret(name: str) -> Values | None:
    found = _kubectl("get", "secret", name)
    if found is None:
        return None
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def _in_cluster(name: str) -> bool:
    try:
        return _kubectl("get", "secret", name) is not None
    except CommandError as error:
        print(f"not compared with a cluster: {error}")
        return False


def _kubectl(*arguments: str) -> Any:  # noqa: ANN401 - whatever JSON the cluster has
    """One object as the cluster has it, None when it has none. Raises CommandError when it cannot be asked."""
    command = ["kubectl", *arguments, f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=json"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words and the names above
            [*command, "--request-timeout=10s"],
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"kubectl does not answer ({type(error).__name__})") from error
    if done.returncode != 0:
        raise CommandError((done.stderr.strip().splitlines() or ["kubectl failed"])[-1])
    return json.loads(done.stdout) if done.stdout.strip() else None


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
