"""make k8s-secrets: whole files, for their owner alone, never overwritten; rotation in steps that never lock out."""

import base64
import json
import re
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from device_registration_api.personal.keys import NumberedKeys
from tests.deploy.rendering import ROOT

SECRETS = "components/secrets"
PRIVATE = "device-registration-api"
PERSONAL_LOGIN = ("PERSONAL_DB_USER", "PERSONAL_DB_PASSWORD")
KEY_LISTS = ("PERSONAL_KEKS", "PERSONAL_INDEX_KEYS", "TOKEN_SIGNING_KEYS")
Values = dict[str, str]


class Checkout:
    """A folder k8s/ and the command, with a kubectl that answers what the test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "k8s"
        for name in (SECRETS, "components/postgres"):
            (self.folder / name).mkdir(parents=True)
        for program in (ROOT / "k8s").glob("*.py"):
            (self.folder / program.name).write_bytes(program.read_bytes())
        self._path = folder / "bin"
        self._path.mkdir()
        self.cluster("", code=1, complaint="no cluster")

    def cluster(self, objects: str, *, code: int = 0, complaint: str = "") -> None:
        """What kubectl answers: JSON of `kind/name` to object, nothing for the others."""
        kubectl = self._path / "kubectl"
        (self._path / "objects.json").write_text(objects or "{}")
        kubectl.write_text(
            f"#!{sys.executable}\nimport json, sys, pathlib\n"
            f"sys.stderr.write({complaint!r})\n"
            "known = json.loads(pathlib.Path(__file__).with_name('objects.json').read_text())\n"
            "found = known.get('/'.join(sys.argv[2:4]))\n"
            "print(json.dumps(found) if found else '')\n"
            f"sys.exit({code})\n"
        )
        kubectl.chmod(0o755)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command with these arguments."""
        env = {"PATH": f"{self._path}:/usr/bin:/bin", **environment}
        command = [sys.executable, str(self.folder / "secret_files.py"), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def values(self, name: str) -> Values:
        """What a file says."""
        text = (self.folder / name).read_text()
        return dict(line.split("=", 1) for line in text.splitlines())

    @property
    def files(self) -> list[Path]:
        """Every file of secrets that was written, half-written ones included."""
        written = (path for path in (self.folder / "components").rglob("*") if path.is_file())
        return sorted(path for path in written if path != self.component)

    @property
    def component(self) -> Path:
        """The file that names what Terraform has built."""
        return self.folder / "components/from-terraform/kustomization.yaml"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_files_belong_together_and_to_their_owner(checkout: Checkout) -> None:
    assert checkout.run("make").returncode == 0

    administrator = checkout.values(f"{SECRETS}/administrator.env")
    public = checkout.values(f"{SECRETS}/statistics-api.env")
    private = checkout.values(f"{SECRETS}/device-registration-api.env")
    password = checkout.values("components/postgres/postgres.env")["POSTGRES_PASSWORD"]
    assert administrator["DATABASE_URL"] == f"postgresql://postgres:{password}@postgres:5432/device_statistics"
    assert (administrator["READER_DB_USER"], administrator["READER_DB_PASSWORD"]) == (
        public["DB_USER"],
        public["DB_PASSWORD"],
    )
    assert (administrator["WRITER_DB_USER"], administrator["WRITER_DB_PASSWORD"]) == (
        private["DB_USER"],
        private["DB_PASSWORD"],
    )
    assert public["SERVICE_TOKEN"] == private["SERVICE_TOKEN"]
    login = {"PERSONAL_DB_USER", "PERSONAL_DB_PASSWORD"}
    assert {key: administrator[key] for key in login} == {key: private[key] for key in login}
    assert {key for key in administrator if key.startswith("PERSONAL_")} == login
    assert set(public) == {"DB_USER", "DB_PASSWORD", "SERVICE_TOKEN"}
    for name in ("PERSONAL_KEKS", "PERSONAL_INDEX_KEYS"):
        assert list(NumberedKeys(private[name]).by_number) == [1]
    [signing] = re.findall(r"^[A-Za-z0-9_-]{1,16}:([A-Za-z0-9_-]{43})$", private["TOKEN_SIGNING_KEYS"])
    assert len(base64.urlsafe_b64decode(signing + "=")) == 32
    passwords = {password, public["DB_PASSWORD"], private["DB_PASSWORD"], private["PERSONAL_DB_PASSWORD"]}
    assert len(passwords | {public["SERVICE_TOKEN"]}) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in checkout.files} == {0o600}
    assert len(checkout.files) == 4


def test_no_file_is_overwritten_and_a_lost_one_is_made_again_from_the_others(checkout: Checkout) -> None:
    checkout.run("make")
    before = {path: path.read_text() for path in checkout.files}
    lost = checkout.folder / SECRETS / "statistics-api.env"
    lost.unlink()

    assert checkout.run("make").returncode == 0

    assert {path: path.read_text() for path in checkout.files} == before


def without_personal_data(checkout: Checkout) -> dict[str, Values]:
    """Make the files those of release 0.2.0; return what is in them."""
    kept = {}
    for name in ("administrator", "device-registration-api"):
        values = checkout.values(f"{SECRETS}/{name}.env")
        kept[name] = {key: value for key, value in values.items() if not key.startswith(("PERSONAL_", "TOKEN_"))}
        (checkout.folder / SECRETS / f"{name}.env").write_text("".join(f"{k}={v}\n" for k, v in kept[name].items()))
    return kept


def in_use(name: str, values: Values) -> str:
    """What the cluster answers when a Deployment uses these values."""
    containers = [{"envFrom": [{"secretRef": {"name": f"{name}-now"}}]}]
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return json.dumps(
        {
            "secret/administrator": {"data": {}},
            f"deployment/{name}": {"spec": {"template": {"spec": {"containers": containers}}}},
            f"secret/{name}-now": {"data": encoded},
        }
    )


def test_files_of_an_earlier_release_get_what_they_lack_and_keep_the_rest(checkout: Checkout) -> None:
    checkout.run("make")
    kept = without_personal_data(checkout)

    assert checkout.run("make").returncode == 0

    private, administrator = (checkout.values(f"{SECRETS}/{name}.env") for name in (PRIVATE, "administrator"))
    assert administrator == kept["administrator"] | {key: private[key] for key in PERSONAL_LOGIN}
    assert private == kept[PRIVATE] | {key: private[key] for key in (*PERSONAL_LOGIN, *KEY_LISTS)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in checkout.files} == {0o600}
    before = {path: path.read_text() for path in checkout.files}
    assert "every secret is there" in checkout.run("make").stdout
    assert {path: path.read_text() for path in checkout.files} == before


def test_what_they_lack_is_taken_from_a_cluster_that_has_it(checkout: Checkout) -> None:
    """Another checkout was upgraded first: new keys would open nothing of what is there."""
    checkout.run("make")
    private = checkout.values(f"{SECRETS}/{PRIVATE}.env")
    without_personal_data(checkout)
    checkout.cluster(in_use(PRIVATE, private))

    assert checkout.run("make").returncode == 0

    assert checkout.values(f"{SECRETS}/{PRIVATE}.env") == private
    assert (
        checkout.values(f"{SECRETS}/administrator.env").items() >= {key: private[key] for key in PERSONAL_LOGIN}.items()
    )


def test_lost_keys_are_not_replaced_by_new_ones(checkout: Checkout) -> None:
    checkout.run("make")
    lost = checkout.folder / SECRETS / f"{PRIVATE}.env"
    lost.unlink()

    refused = checkout.run("make")

    assert refused.returncode == 1
    assert "your copy" in refused.stderr
    assert not lost.exists()


@pytest.mark.parametrize(("what", "name"), [("personal-keks", "PERSONAL_KEKS"), ("token-keys", "TOKEN_SIGNING_KEYS")])
def test_every_pod_knows_a_new_key_before_another_one_uses_it(checkout: Checkout, what: str, name: str) -> None:
    checkout.run("make")

    def keys() -> list[str]:
        return checkout.values(f"{SECRETS}/{PRIVATE}.env")[name].split(",")

    before = checkout.values(f"{SECRETS}/{PRIVATE}.env")
    steps = [keys()]
    for number in (1, 2, 3):
        rotated = checkout.run("rotate", what)
        assert f"step {number} of 3" in rotated.stdout, rotated.stderr
        steps.append(keys())

    [old], [_, new], [*swapped], [last] = steps
    assert (swapped, last) == ([new, old], new)
    assert old != new
    for step, following in pairwise(steps):
        # The pods of both steps are there at once: each knows the key that the other one uses.
        assert step[0] in following
        assert following[0] in step
    after = checkout.values(f"{SECRETS}/{PRIVATE}.env")
    assert {key: value for key, value in after.items() if value != before[key]} == {name: new}


@pytest.mark.parametrize("keys", ["3:a,2:b,1:c", "b-1:x", "2:a,2:b"])
def test_a_list_that_it_did_not_make_is_left_to_its_operator(checkout: Checkout, keys: str) -> None:
    checkout.run("make")
    path = checkout.folder / SECRETS / f"{PRIVATE}.env"
    values = checkout.values(f"{SECRETS}/{PRIVATE}.env") | {"PERSONAL_KEKS": keys}
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))

    refused = checkout.run("rotate", "personal-keks")

    assert refused.returncode == 1
    assert "by hand" in refused.stderr
    assert checkout.values(f"{SECRETS}/{PRIVATE}.env") == values


def test_a_managed_server_needs_no_password_of_ours(checkout: Checkout) -> None:
    url = "postgresql://admin:p%40ss@db.example.com/device_statistics?sslmode=require"

    assert checkout.run("make", ADMINISTRATOR_URL=url).returncode == 0

    assert checkout.values(f"{SECRETS}/administrator.env")["DATABASE_URL"] == url
    assert not (checkout.folder / "components/postgres/postgres.env").exists()


def test_new_secrets_are_not_made_for_a_cluster_that_has_some(checkout: Checkout) -> None:
    checkout.cluster(json.dumps({"secret/administrator": {"data": {}}}))

    refused = checkout.run("make")

    assert refused.returncode == 1
    assert "FROM=cluster" in refused.stderr
    assert checkout.files == []
    assert not checkout.component.exists()


def test_they_are_read_again_from_the_cluster_as_its_deployments_use_them(checkout: Checkout) -> None:
    checkout.run("make")
    before = {path: path.read_text() for path in checkout.files}

    def secret(name: str) -> dict[str, Values]:
        [path] = [each for each in checkout.files if each.stem == name]
        pairs = [line.split("=", 1) for line in path.read_text().splitlines()]
        return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in pairs}}

    objects: dict[str, object] = {f"secret/{name}": secret(name) for name in ("administrator", "postgres")}
    for name in ("statistics-api", "device-registration-api"):
        sources = [{"configMapRef": {"name": "database-x"}}, {"secretRef": {"name": f"{name}-now"}}]
        containers = [{"envFrom": sources}]
        objects[f"deployment/{name}"] = {"spec": {"template": {"spec": {"containers": containers}}}}
        objects[f"secret/{name}-now"] = secret(name)
        objects[f"secret/{name}-yesterday"] = {"data": {}}
    for path in checkout.files:
        path.unlink()
    checkout.cluster(json.dumps(objects))

    assert checkout.run("read").returncode == 0

    assert {path: path.read_text() for path in checkout.files} == before
    assert "every secret is there" in checkout.run("read").stdout


UPLOADING = {
    "cronjob/backup": {
        "spec": {
            "jobTemplate": {
                "spec": {
                    "template": {
                        "spec": {
                            "initContainers": [{"name": "backup"}],
                            "containers": [{"name": "upload", "envFrom": [{"configMapRef": {"name": "bucket-x"}}]}],
                        }
                    }
                }
            }
        }
    },
    "configmap/bucket-x": {"data": {"S3_BUCKET": "dumps-1", "AWS_REGION": "eu-west-1"}},
}
ON_NODES_OF_ITS_OWN = {
    "statefulset/postgres": {"spec": {"template": {"spec": {"nodeSelector": {"karpenter.sh/nodepool": "database"}}}}}
}


def test_what_terraform_wrote_stays(checkout: Checkout) -> None:
    checkout.component.parent.mkdir()
    checkout.component.write_text("# Written by `terraform apply`\n")

    assert checkout.run("make").returncode == 0

    assert checkout.component.read_text() == "# Written by `terraform apply`\n"


def test_without_terraform_the_component_names_nothing(checkout: Checkout) -> None:
    made = checkout.run("make")

    assert "dumps stay in the cluster until `terraform apply`" in made.stdout
    assert "components" not in yaml.safe_load(checkout.component.read_text())


@pytest.mark.parametrize("command", ["make", "read"])
@pytest.mark.parametrize("on_nodes_of_its_own", [True, False])
def test_what_the_cluster_uses_is_not_forgotten(checkout: Checkout, command: str, *, on_nodes_of_its_own: bool) -> None:
    """On another machine, or in a checkout that has just been upgraded, the next apply would end the upload."""
    checkout.run("make")
    checkout.component.unlink()
    checkout.cluster(json.dumps(UPLOADING | (ON_NODES_OF_ITS_OWN if on_nodes_of_its_own else {})))

    assert checkout.run(command).returncode == 0

    written = yaml.safe_load(checkout.component.read_text())
    assert written["components"] == ["../backup-to-s3"] + ["../database-nodes"] * on_nodes_of_its_own
    [bucket] = written["configMapGenerator"]
    assert bucket == {"name": "bucket", "literals": ["S3_BUCKET=dumps-1", "AWS_REGION=eu-west-1"]}


def test_at_every_step_of_a_rotation_the_shown_token_is_accepted_before_and_after(checkout: Checkout) -> None:
    checkout.run("make")

    def state() -> tuple[str, set[str]]:
        private = checkout.values(f"{SECRETS}/device-registration-api.env")
        accepted = {value for key, value in private.items() if key.startswith("SERVICE_TOKEN")}
        return checkout.values(f"{SECRETS}/statistics-api.env")["SERVICE_TOKEN"], accepted

    first, _ = state()
    states = [state()]
    for _ in range(3):
        assert checkout.run("rotate", "service-token").returncode == 0
        states.append(state())

    for (shown_before, accepted_before), (shown, accepted) in pairwise(states):
        # While pods are replaced, any of the old and new ones of both services meet.
        assert {shown_before, shown} <= accepted_before & accepted
    assert first not in states[-1][1]
    assert stat.S_IMODE((checkout.folder / SECRETS / "statistics-api.env").stat().st_mode) == 0o600


def test_logins_rotate_between_two_names(checkout: Checkout) -> None:
    checkout.run("make")
    names = []
    for _ in range(3):
        names.append(checkout.values(f"{SECRETS}/statistics-api.env")["DB_USER"])
        before = checkout.values(f"{SECRETS}/statistics-api.env")["DB_PASSWORD"]
        assert checkout.run("rotate", "logins").returncode == 0
        administrator = checkout.values(f"{SECRETS}/administrator.env")
        public = checkout.values(f"{SECRETS}/statistics-api.env")
        private = checkout.values(f"{SECRETS}/{PRIVATE}.env")
        assert {key: administrator[key] for key in PERSONAL_LOGIN} == {key: private[key] for key in PERSONAL_LOGIN}
        assert private["PERSONAL_DB_USER"] == f"device_statistics_personal_{public['DB_USER'][-1]}"
        assert administrator["READER_DB_USER"] == public["DB_USER"]
        assert administrator["READER_DB_PASSWORD"] == public["DB_PASSWORD"] != before
        assert "DATABASE_URL" in administrator
    assert names == ["device_statistics_reader_a", "device_statistics_reader_b", "device_statistics_reader_a"]


def test_a_rotation_without_files_says_what_to_do_first(checkout: Checkout) -> None:
    refused = checkout.run("rotate", "service-token")

    assert refused.returncode == 1
    assert "make k8s-secrets" in refused.stderr
