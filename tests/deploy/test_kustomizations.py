"""What is in git: no secrets, one tag everywhere, the documents' images block; and what a new release changes."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy import release
from tests.deploy.network_matrix import BACKUPS, EXPECTED, LOAD_BALANCER, Pair, deviations
from tests.deploy.rendering import (
    INSTALLATIONS,
    ROOT,
    Document,
    copy_of_a_clone,
    environment,
    make_secrets,
    named,
    of_kind,
    pods,
    render,
)


def _read(path: str) -> str:
    return (ROOT / path).read_text()


def _images(kustomization: str) -> dict[str, str]:
    return {each["name"]: each["newTag"] for each in yaml.safe_load(_read(kustomization))["images"]}


def test_no_secret_is_in_git() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "k8s", "terraform"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert [path for path in tracked if path.endswith((".env", ".tfvars", ".tfstate"))] == [
        "k8s/overlays/rds/database.env"
    ]
    assert not [path for path in tracked if path.endswith(".yaml") and re.search(r"(?m)^kind: Secret$", _read(path))]
    assert not re.search(r"(?i)password|token|secret", _read("k8s/overlays/rds/database.env"))


def test_git_ignores_what_is_written_for_an_operator() -> None:
    written = [
        "k8s/components/secrets/administrator.env",
        "k8s/components/secrets/statistics-api.env",
        "k8s/components/secrets/device-registration-api.env",
        "k8s/components/postgres/postgres.env",
        "k8s/components/from-terraform/kustomization.yaml",
        "k8s/karpenter/ec2nodeclass.yaml",
        "terraform/terraform.tfvars",
        "terraform/terraform.tfstate",
    ]
    for path in written:
        subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT, check=True)


def test_the_images_of_the_root_are_those_of_every_kustomization() -> None:
    """That they carry the release's number is tests/deploy/release.py."""
    root = _images("k8s/kustomization.yaml")
    assert set(root) == {"device-statistics/statistics-api", "device-statistics/device-registration-api"}
    for kustomization in ("base/", "check/", "restore-drill/"):
        assert _images(f"k8s/{kustomization}kustomization.yaml").items() <= root.items()
    workflow = yaml.safe_load(_read(".github/workflows/deployment.yml"))
    assert workflow["jobs"]["kind"]["env"]["RELEASE"] == release.version()
    # Whatever stands behind the first hyphen of the Job's name is replaced twice.
    assert "-" not in release.version()


def test_one_minor_release_of_postgres_is_named_everywhere(rendered: dict[str, list[Document]]) -> None:
    every = [pod for documents in rendered.values() for pod in pods(documents)]
    images = {c["image"] for pod in every for c in pod.containers if c["image"].startswith("postgres")}
    assert len(images) == 1


def test_a_new_tag_is_a_new_job(kubectl: str, manifests: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(manifests, tmp_path / "k8s"))
    root = folder / "kustomization.yaml"
    root.write_text(
        root.read_text().replace('"0.2.0"', "0.3.0-rc.1").replace("newName: device", "newName: mine/device")
    )

    jobs = of_kind(render(kubectl, folder), "Job")

    assert [job["metadata"]["name"] for job in jobs] == ["migrate-0.3.0-rc.1"]
    [container] = jobs[0]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mine/device-statistics/device-registration-api:0.3.0-rc.1"


def test_a_changed_secret_replaces_its_pods_and_leaves_the_job_alone(
    kubectl: str, manifests: Path, tmp_path: Path, rendered: dict[str, list[Document]]
) -> None:
    folder = Path(shutil.copytree(manifests, tmp_path / "k8s"))
    for path in (folder / "components").rglob("*.env"):
        path.write_text(path.read_text() + "ADDED=1\n")

    before, after = rendered["."], render(kubectl, folder)

    for kind, name, same in (
        ("Deployment", "statistics-api", False),
        ("Deployment", "device-registration-api", False),
        ("Job", "migrate-0.2.0", True),
        ("StatefulSet", "postgres", True),
    ):
        templates = [named(each, kind, name)["spec"]["template"] for each in (before, after)]
        assert (templates[0] == templates[1]) is same, f"{kind} {name}"


def test_the_load_balancers_subnets_are_terraforms(rendered: dict[str, list[Document]]) -> None:
    block = re.search(
        r'variable "public_subnets" \{(.*?)^\}', _read("terraform/variables.tf"), re.DOTALL | re.MULTILINE
    )
    assert block
    default = re.search(r"default\s*=\s*\[(.*?)\]", block[1], re.DOTALL)
    assert default
    assert re.findall(r'"([^"]+)"', default[1]) == LOAD_BALANCER
    [public] = [pod for pod in pods(rendered["."]) if pod.name == "statistics-api"]
    assert environment(public.containers[0])["TRUSTED_PROXIES"]["value"].split(",") == LOAD_BALANCER


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_a_clean_clone_needs_the_secrets_and_nothing_of_terraforms(
    kubectl: str, tmp_path: Path, installation: str
) -> None:
    clone = copy_of_a_clone(tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        render(kubectl, clone / installation)
    make_secrets(clone)

    documents = render(kubectl, clone / installation)

    to_s3 = {
        Pair(name, "calls", *peer)
        for name in BACKUPS
        for peer in (("0.0.0.0/0 less private ranges", "TCP 443"), ("169.254.170.23/32", "TCP 80"))
    }
    assert deviations(documents, EXPECTED[installation] - to_s3) == []
    backups = {pod.name: [container["name"] for container in pod.containers] for pod in pods(documents)}
    assert {name: backups[name] for name in BACKUPS} == {name: ["backup"] for name in BACKUPS}


def test_terraforms_file_names_the_bucket_and_the_upload(rendered: dict[str, list[Document]]) -> None:
    for installation, name in itertools.product((".", "overlays/eks", "overlays/rds"), BACKUPS):
        [backup] = [pod for pod in pods(rendered[installation]) if pod.name == name]
        assert [container["name"] for container in backup.containers] == ["backup", "upload"]
        [source] = [each for container in backup.containers for each in container.get("envFrom", [])]
        bucket = named(rendered[installation], "ConfigMap", source["configMapRef"]["name"])
        assert set(bucket["data"]) == {"S3_BUCKET", "AWS_REGION"}
        folder = {"backup": "dumps", "backup-keyring": "keyring"}[name]
        assert [word for word in backup.containers[1]["command"] if "S3_BUCKET" in word] == [
            f"s3://$(S3_BUCKET)/{folder}/"
        ]


def test_the_keys_of_personal_data_are_apart_from_the_other_dumps(rendered: dict[str, list[Document]]) -> None:
    """Another volume, another identity; nobody has both, so no copy of one folder has what opens it."""
    for installation in INSTALLATIONS:
        found = {pod.name: pod for pod in pods(rendered[installation]) if pod.name in BACKUPS}
        claims = [
            [
                each["persistentVolumeClaim"]["claimName"]
                for each in pod.spec["volumes"]
                if "persistentVolumeClaim" in each
            ]
            for pod in (found["backup"], found["backup-keyring"])
        ]
        assert claims == [["backups"], ["backups-keyring"]]
        assert [found[name].spec["serviceAccountName"] for name in BACKUPS] == BACKUPS
        what = [environment(found[name].containers[0])["WHAT"]["value"] for name in BACKUPS]
        assert what == ["data", "keyring"]


def test_the_example_of_the_component_is_what_terraform_would_write() -> None:
    template = _read("terraform/templates/components.yaml.tftpl")
    written = template.replace("${bucket}", "device-statistics-backups-example").replace("${region}", "us-east-1")
    assert yaml.safe_load(written) == yaml.safe_load(_read("k8s/components/from-terraform/kustomization.example.yaml"))
    assert 'filename        = "${path.module}/../k8s/components/from-terraform/kustomization.yaml"' in _read(
        "terraform/backups.tf"
    )


def test_the_example_of_a_node_class_is_what_terraform_would_write() -> None:
    template = _read("terraform/templates/ec2nodeclass.yaml.tftpl")
    alias = re.search(r'default\s*=\s*"(al2023@v\d+)"', _read("terraform/variables.tf"))
    assert alias
    written = template.replace("${name}", "device-statistics").replace("${ami_alias}", alias[1])
    written = written.replace("${role}", "device-statistics-karpenter-node")
    assert yaml.safe_load(written) == yaml.safe_load(_read("k8s/karpenter/ec2nodeclass.example.yaml"))


def _pools() -> dict[str, Document]:
    pools = yaml.safe_load_all(_read("k8s/karpenter/nodepool.yaml"))
    return {pool["metadata"]["name"]: pool["spec"] for pool in pools}


def test_karpenter_disturbs_one_node_at_a_time_and_has_an_end() -> None:
    assert set(_pools()) == {"default", "database"}
    for pool in _pools().values():
        assert pool["disruption"]["budgets"] == [{"nodes": "1"}]
        assert set(pool["limits"]) == {"cpu", "memory"}
        [capacity] = [
            each for each in pool["template"]["spec"]["requirements"] if each["key"] == "karpenter.sh/capacity-type"
        ]
        assert capacity["values"] == ["on-demand"]
    node = yaml.safe_load(_read("k8s/karpenter/ec2nodeclass.example.yaml"))["spec"]
    assert node["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }
    assert all(device["ebs"]["encrypted"] for device in node["blockDeviceMappings"])


@pytest.mark.parametrize("installation", [".", "overlays/eks"])
def test_the_database_is_on_nodes_that_nothing_takes_away(
    installation: str, rendered: dict[str, list[Document]]
) -> None:
    """`terminationGracePeriod` would override do-not-disrupt, and budgets do not hold back an expiry."""
    [database] = [pod for pod in pods(rendered[installation]) if pod.kind == "StatefulSet"]
    assert database.spec["nodeSelector"] == {"karpenter.sh/nodepool": "database"}
    pool = _pools()["database"]["template"]["spec"]
    assert pool["expireAfter"] == "Never"
    assert "terminationGracePeriod" not in pool
    [taint] = pool["taints"]
    assert database.spec["tolerations"] == [{**taint, "operator": "Equal"}]
    others = [pod for pod in pods(rendered[installation]) if pod.kind != "StatefulSet"]
    assert not [pod.name for pod in others if "tolerations" in pod.spec]


def test_without_karpenter_the_database_goes_anywhere(kubectl: str, tmp_path: Path) -> None:
    clone = copy_of_a_clone(tmp_path)
    make_secrets(clone)

    [database] = [pod for pod in pods(render(kubectl, clone)) if pod.kind == "StatefulSet"]

    assert not {"nodeSelector", "tolerations", "affinity"} & set(database.spec)


def test_rendering_redacts_secrets(kubectl: str, manifests: Path) -> None:
    plain = subprocess.run([kubectl, "kustomize", manifests], check=True, capture_output=True, text=True).stdout
    redacted = subprocess.run(
        ["python3", ROOT / "k8s/redact_secrets.py"], input=plain, check=True, capture_output=True, text=True
    ).stdout
    secret = {value for each in of_kind(list(yaml.safe_load_all(plain)), "Secret") for value in each["data"].values()}
    assert secret
    assert not [value for value in secret if value in redacted]
    shown = [each for each in yaml.safe_load_all(redacted) if each["kind"] != "Secret"]
    assert shown == [each for each in yaml.safe_load_all(plain) if each["kind"] != "Secret"]


def test_leaving_the_rendered_manifests_early_prints_no_error(kubectl: str, manifests: Path) -> None:
    redact = f"{sys.executable} {ROOT / 'k8s/redact_secrets.py'}"
    more = "seq --format='# %.0f' 200000"  # so that there is something left to write
    command = f"set -o pipefail; {{ {kubectl} kustomize {manifests}; echo ---; {more}; }} | {redact} | head -1"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "apiVersion: v1\n", "")
