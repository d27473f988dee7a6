"""docs/operations.md: what it changes and makes by hand fits the manifests, and its statements hold."""

import json
import os
import re
import shlex
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import yaml
from psycopg2.extensions import parse_dsn

from tests.deploy import documents, walk
from tests.deploy.rendering import NAMESPACE, ROOT, Document, named, of_kind, pods
from tests.servers import Cluster

OPERATIONS = "docs/operations.md"


def chapter(title: str) -> str:
    return documents.chapter(documents.read(OPERATIONS), title)


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """What kubectl is asked, in order, when the chapter on restoring is run as a script against one overlay."""
    log = tmp_path / "log"
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" >>{log}\n')
    kubectl.chmod(0o755)
    script = walk.script("Restore for real", "k8s/overlays/local")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", "-euo", "pipefail"], input=script, env=env, text=True, check=True)
    return [line.removeprefix(f"--namespace {NAMESPACE} ") for line in log.read_text().splitlines()]


def test_nobody_writes_when_a_restored_database_takes_its_place(
    asked: list[str], rendered: dict[str, list[Document]]
) -> None:
    order = [
        "delete -k k8s/restore-drill",
        "apply -k k8s/restore-drill",
        "wait --for=condition=complete --timeout=4h job/restore-drill",
        "patch cronjob maintain",
        "delete hpa --all",
        "scale deployment/statistics-api deployment/device-registration-api deployment/webhooks --replicas=0",
        "delete job --all",
        "wait --for=delete pod",
        "exec postgres-0 -- psql",
        "apply -k k8s/overlays/local",
        "scale deployment/statistics-api deployment/device-registration-api --replicas=3",
    ]
    places = [next(index for index, line in enumerate(asked) if line.startswith(each)) for each in order]
    assert places == sorted(places)
    [waited] = [line for line in asked if line.startswith("wait --for=delete pod")]
    found = re.search(r"name in \(([^)]*)\)", waited)
    assert found
    # Everybody with a connection to the database.
    clients = {pod.labels["app.kubernetes.io/name"] for pod in pods(rendered["."]) if pod.kind != "StatefulSet"}
    assert set(found[1].split(", ")) == clients | {"restore-drill"}


def _rename(cluster: Cluster, title: str = "Restore for real") -> subprocess.CompletedProcess[str]:
    """The statements of the document, by the program that it names."""
    text = chapter(title).replace("\\\n", " ")
    [line] = re.findall(r"(?m)^k exec postgres-0 -- (psql .*)$", text)
    assert {"--set=ON_ERROR_STOP=1", "--single-transaction"} <= set(shlex.split(line))
    server = parse_dsn(cluster.admin_url())
    env = {
        "PGHOST": server["host"],
        "PGPORT": server["port"],
        "PGPASSWORD": server["password"],
        "PATH": os.environ["PATH"],
    }
    _, *arguments = shlex.split(line)
    return subprocess.run([cluster.binaries / "psql", *arguments], env=env, capture_output=True, text=True, check=False)


def test_the_rename_is_done_whole_or_not_at_all(cluster: Cluster) -> None:
    def names() -> set[str]:
        with closing(psycopg2.connect(cluster.admin_url())) as conn, conn.cursor() as cur:
            cur.execute("SELECT datname FROM pg_database WHERE datname ~ '^(device_statistics|restore_drill)'")
            return {name for (name,) in cur.fetchall()}

    def forget() -> None:
        with closing(psycopg2.connect(cluster.admin_url())) as conn, conn.cursor() as cur:
            conn.autocommit = True
            for name in names():
                cur.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    forget()
    try:
        with closing(psycopg2.connect(cluster.admin_url())) as conn, conn.cursor() as cur:
            conn.autocommit = True
            cur.execute("CREATE DATABASE device_statistics TEMPLATE template0")
            # The copy is missing: the first name alone must not change.
            assert _rename(cluster).returncode != 0
            assert names() == {"device_statistics"}

            cur.execute("CREATE DATABASE restore_drill TEMPLATE template0")
            with closing(psycopg2.connect(cluster.admin_url("device_statistics"))):
                refused = _rename(cluster)
                assert refused.returncode != 0
                assert "is being accessed by other users" in refused.stderr
                assert names() == {"device_statistics", "restore_drill"}

            done = _rename(cluster)
            assert done.returncode == 0, done.stderr
            assert names() == {"device_statistics", "device_statistics_damaged"}
    finally:
        forget()


def test_personal_data_is_put_in_place_whole_or_not_at_all(cluster: Cluster) -> None:
    real = [f"device_statistics_{name}" for name in ("personal", "keyring")]
    copies = [f"restore_drill_{name}" for name in ("personal", "keyring")]
    with closing(psycopg2.connect(cluster.admin_url())) as conn, conn.cursor() as cur:
        conn.autocommit = True
        try:
            for name in (*real, copies[0]):
                cur.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            # The copy of the keyring is missing: `personal` must not change either.
            assert _rename(cluster, "Restore personal data").returncode != 0
            cur.execute(f"CREATE DATABASE {copies[1]} TEMPLATE template0")
            done = _rename(cluster, "Restore personal data")
            assert done.returncode == 0, done.stderr
            cur.execute("SELECT datname FROM pg_database WHERE datname ~ '_(personal|keyring)(_damaged)?$' ORDER BY 1")
            assert {name for (name,) in cur.fetchall()} >= {*real, *(f"{name}_damaged" for name in real)}
        finally:
            for name in (*real, *copies, *(f"{name}_damaged" for name in real)):
                cur.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_ci_walks_the_chapters_as_they_stand() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/deployment.yml").read_text())
    typed = "\n".join(step.get("run", "") for step in workflow["jobs"]["kind"]["steps"])
    walked = re.findall(r'tests\.deploy\.walk "([^"]+)"', typed)
    assert walked == ["Backup and restore", "Upgrade without downtime"]
    assert "psql" in walk.script(walked[0], "k8s/overlays/local")
    for title in walked:
        script = walk.script(title, "k8s/overlays/local")
        assert "kubectl apply -k k8s/overlays/local" in script
        assert not re.search(r"(?m)^kubectl apply -k k8s/(\s|$)", script)


def test_a_kept_volume_is_free_for_the_claim_of_the_same_name() -> None:
    [patch] = re.findall(r"--patch \\\n\s+'([^']+)'", chapter("Volumes that were kept"))
    claim = {
        "namespace": NAMESPACE,
        "name": "backups",
        "uid": "1",
        "resourceVersion": "2",
        "kind": "PersistentVolumeClaim",
    }
    for each in json.loads(patch):
        assert each["op"] == "remove"
        del claim[each["path"].removeprefix("/spec/claimRef/")]
    # These two bind it to an object that is gone; the rest keeps it for nobody else.
    assert claim == {"namespace": NAMESPACE, "name": "backups", "kind": "PersistentVolumeClaim"}


def test_a_volume_made_by_hand_is_the_one_that_the_claim_looks_for(rendered: dict[str, list[Document]]) -> None:
    [block] = [each for each in documents.blocks(chapter("Volumes that were kept")) if each.language == "yaml"]
    volume = yaml.safe_load(block.text)["spec"]
    [storage] = of_kind(rendered["."], "StorageClass")
    server = named(rendered["."], "StatefulSet", "postgres")
    [template] = server["spec"]["volumeClaimTemplates"]
    assert volume["claimRef"] == {"namespace": NAMESPACE, "name": f"{template['metadata']['name']}-postgres-0"}
    assert volume["storageClassName"] == storage["metadata"]["name"]
    assert volume["csi"]["driver"] == storage["provisioner"]
    assert volume["persistentVolumeReclaimPolicy"] == storage["reclaimPolicy"]
    assert volume["accessModes"] == template["spec"]["accessModes"]
    assert volume["capacity"] == template["spec"]["resources"]["requests"]
    for backups in of_kind(rendered["."], "PersistentVolumeClaim"):
        assert f"`{backups['metadata']['name']}`" in block.text


def test_the_pool_that_postgresql_leaves_is_the_one_it_runs_in(rendered: dict[str, list[Document]]) -> None:
    text = chapter("Upgrade of the cluster, its add-ons and its nodes")
    selector = named(rendered["."], "StatefulSet", "postgres")["spec"]["template"]["spec"]["nodeSelector"]
    [(label, pool)] = selector.items()
    order = [
        "kubectl cordon --selector " + f"{label}={pool}",
        "k delete pod postgres-0",
        "k rollout status statefulset",
    ]
    places = [text.index(command) for command in order]
    assert places == sorted(places)
