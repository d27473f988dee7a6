"""docs/operations.md: what it changes and makes by hand fits the manifests, and its statements hold."""

import json
import re

import yaml

from tests.deploy import documents
from tests.deploy.rendering import NAMESPACE, Document, named, of_kind

OPERATIONS = "docs/operations.md"


def chapter(title: str) -> str:
    return documents.chapter(documents.read(OPERATIONS), title)


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
    [backups] = of_kind(rendered["."], "PersistentVolumeClaim")
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
