"""What the documents tell their readers to type, open and look at is there, under that name."""

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic_settings import BaseSettings

from device_registration_api.__main__ import main
from device_registration_api.access.settings import AccessSettings
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.maintenance.settings import DatabaseSettings, RetentionSettings
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from device_registration_api.settings import Settings as PrivateSettings
from device_registration_api.webhooks.settings import WebhookSettings
from local.settings import Settings as LauncherSettings
from statistics_api.settings import Settings as PublicSettings
from tests.deploy import documents
from tests.deploy.rendering import INSTALLATIONS, ROOT, TOOLS, Document, of_kind
from tests.journeys.documents_curl import LINES

EVERY = pytest.mark.parametrize("name", documents.NAMES)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
README_LINES_MAX = 200
SETTINGS: list[type[BaseSettings]] = [
    WebhookSettings,
    LauncherSettings,
    PublicSettings,
    PrivateSettings,
    AdministratorSettings,
    LoginSettings,
    DatabaseSettings,
    RetentionSettings,
    AccessSettings,
    AccountSettings,
]
OF_COMPOSE = {
    "GRAFANA_DB_PASSWORD",
    "GRAFANA_PORT",
    "LOAD_API_KEY",
    "LOAD_PORT",
    "POSTGRES_PASSWORD",
    "READER_DB_PASSWORD",
    "READER_DB_USER",
}
# How kubectl may call what the manifests call by its kind.
KINDS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "job": "Job",
    "cronjob": "CronJob",
    "service": "Service",
    "ingress": "Ingress",
}


def typed(name: str, start: str) -> Iterator[list[str]]:
    """The words of every command of a document that begins like that."""
    for command in documents.commands(documents.read(name)):
        if command.startswith(start):
            yield command.split()


@EVERY
def test_every_file_and_folder_is_there(name: str) -> None:
    secrets = re.findall(r'folder / "([^"]+\.env)"', documents.read("k8s/secret_files.py"))
    terraform = "\n".join(path.read_text() for path in (ROOT / "terraform").glob("*.tf"))
    by_terraform = re.findall(r'filename\s*=\s*"\$\{path\.module\}/\.\./([^"]+)"', terraform)
    for path in documents.paths(documents.read(name)):
        is_written = path in by_terraform or path.removeprefix("k8s/") in secrets
        assert is_written or list(ROOT.glob(path)), f"{name}: {path}"


@EVERY
def test_every_module_is_there(name: str) -> None:
    for module in re.findall(
        r"`((?:servicekit|contract|statistics_api|device_registration_api)\.[\w.]+)`", documents.read(name)
    ):
        assert importlib.util.find_spec(module), f"{name}: {module}"


@EVERY
def test_every_link_leads_somewhere(name: str) -> None:
    for link in documents.links(documents.read(name)):
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.exists(), f"{name}: {link}"
        assert not anchor or anchor in documents.anchors(target.read_text()), f"{name}: {link}"


@EVERY
def test_every_make_target_is_there_and_reads_its_variables(name: str) -> None:
    makefile = documents.read("Makefile")
    targets = set(re.findall(r"(?m)^([a-z0-9-]+):", makefile))
    for _, *words in typed(name, "make "):
        target = words[0]
        assert target in targets, f"{name}: make {target}"
        for variable in re.findall(r"\b([A-Z_]+)=", " ".join(words[1:])):
            assert f"$({variable})" in makefile or f",$({variable})" in makefile, f"{name}: {variable}"


@EVERY
def test_every_kustomization_is_one_that_is_tested(name: str) -> None:
    for start in ("kubectl apply -k", "kubectl delete -k"):
        for words in typed(name, start):
            folder = words[3].removeprefix("k8s").strip("/") or "."
            assert folder in [*INSTALLATIONS, *TOOLS], f"{name}: {words}"


@EVERY
def test_every_object_that_kubectl_is_asked_about_is_there(name: str, rendered: dict[str, list[Document]]) -> None:
    text = documents.read(name)
    delivered = [each for documents_of_one in rendered.values() for each in documents_of_one]
    made_by_hand = set(re.findall(r"create job --from=cronjob/[\w-]+ ([\w-]+)", text))
    for kind, object_name in re.findall(rf"\b({'|'.join(KINDS)})/([a-z][a-z0-9-]*)", text):
        known = {each["metadata"]["name"] for each in of_kind(delivered, KINDS[kind])}
        assert object_name in known | made_by_hand, f"{name}: {kind}/{object_name}"
    for object_name in re.findall(r"patch cronjob ([\w-]+)", text):
        assert object_name in {each["metadata"]["name"] for each in of_kind(delivered, "CronJob")}
    for app in re.findall(r"app\.kubernetes\.io/name=([\w-]+)", text):
        labels = {each["metadata"].get("labels", {}).get("app.kubernetes.io/name") for each in delivered}
        assert app in labels, f"{name}: {app}"
    for pod, claim in re.findall(r"\b(postgres-\d)\b|\bpvc ([\w-]+)", text):
        assert (pod or claim) in {"postgres-0", "data-postgres-0"}, f"{name}: {pod or claim}"


@EVERY
def test_every_service_of_compose_is_there(name: str) -> None:
    takes_no_value = {"-T", "-it", "--rm", "-v", "--volumes", "--detach", "--wait", "--build"}
    for _, _, *words in typed(name, "docker compose "):
        if "--profile" in words:
            profile = words[words.index("--profile") + 1]
            assert profile in {each for service in COMPOSE["services"].values() for each in service.get("profiles", [])}
        if words[0] in {"exec", "run", "stop", "start", "pause", "unpause", "kill", "restart", "up", "logs"}:
            named = [word for word in words[1:] if word not in takes_no_value]
            assert not named or named[0] in COMPOSE["services"], f"{name}: docker compose {words}"


@EVERY
def test_every_command_of_the_operators_program_is_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = documents.read(name)
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"(?m)^ {4}([a-z-]+)\b", capsys.readouterr().out))
    assert {"migrate", "maintain", "verify-counts"} <= known
    for command in re.findall(r"(?:exec|`)[^`\n]*\bdevice-registration-api ([a-z][a-z-]+)\b", text):
        assert command in known, f"{name}: {command}"


@EVERY
def test_every_output_of_terraform_is_there(name: str) -> None:
    known = set(re.findall(r'(?m)^output "(\w+)"', documents.read("terraform/outputs.tf")))
    for output in re.findall(r"terraform output (?:-raw )?(\w+)", documents.read(name)):
        assert output in known, f"{name}: {output}"


def test_the_images_that_are_shown_are_those_of_the_kustomization() -> None:
    [shown] = [
        block
        for name in documents.NAMES
        for block in documents.blocks(documents.read(name))
        if block.language == "yaml" and "newTag" in block.text
    ]
    real = yaml.safe_load(documents.read("k8s/kustomization.yaml"))["images"]
    tags = {each["name"]: each["newTag"] for each in yaml.safe_load(shown.text)["images"]}
    assert tags == {each["name"]: each["newTag"] for each in real}


@pytest.mark.parametrize(
    ("name", "title", "base", "lines"),
    [
        ("docs/compose.md", "Step 4 — Test the APIs", "http://localhost:8000", [*LINES[:4], LINES[5]]),
        ("docs/eks.md", "Step 9 — Test the APIs", "http://$ALB", LINES),
    ],
)
def test_the_curl_lines_are_the_documents_and_so_are_their_answers(
    name: str, title: str, base: str, lines: list[tuple[str, str]]
) -> None:
    """The same lines are typed into a shell by tests/journeys and, in Compose, by tests/compose."""
    found = documents.blocks(documents.chapter(documents.read(name), title))
    shown = "".join(block.text for block in found if block.language == "bash")
    said = [json.loads(line) for block in found if block.language == "json" for line in block.text.splitlines()]
    asked = re.findall(r"(?m)^curl (?:.*\\\n)*.*$", shown)
    assert asked == [line.strip().replace("{base}", base) for line, _ in lines]
    # An answer that comes again may be left out.
    expected = [json.loads(answer) for _, answer in lines]
    assert said == expected or said == [each for index, each in enumerate(expected) if each not in expected[:index]]


GUIDES = [
    ("Running locally with Docker Compose", "docs/compose.md", 5),
    ("Running on Kubernetes (EKS + Terraform)", "docs/eks.md", 10),
]


@pytest.mark.parametrize(("title", "name", "last"), GUIDES)
def test_the_readme_leads_to_each_guide_whose_steps_are_all_there_and_in_order(
    title: str, name: str, last: int
) -> None:
    assert name in documents.links(documents.chapter(documents.read("README.md"), title))
    steps = re.findall(r"(?m)^### Step (\d+) — ", documents.chapter(documents.read(name), title))
    assert steps == [str(number) for number in range(1, last + 1)]


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    readme = documents.read("README.md")
    assert len(readme.splitlines()) <= README_LINES_MAX
    pages = {name for name in documents.NAMES if "decisions/0" not in name} - {"README.md"}
    assert pages <= {link.partition("#")[0] for link in documents.links(readme)}


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"(?m)^\| (`.+?) \| (.*?) \|", documents.read("docs/configuration.md"))
    shown = {setting: default for names, default in rows for setting in re.findall(r"`([A-Z_]+)`", names)}
    for kind in SETTINGS:
        for name, field in kind.model_fields.items():
            default = shown[name.upper()]
            if field.is_required():
                assert "required" in default, name
            elif isinstance(field.default, int | str) and field.default != "":
                assert str(field.default) in default, name
    assert set(shown) <= {name.upper() for kind in SETTINGS for name in kind.model_fields} | OF_COMPOSE


def test_a_wrong_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above, each on a document that is wrong in one word."""
    wrong = tmp_path / "WRONG.md"
    monkeypatch.setattr(documents, "read", lambda name: wrong.read_text() if name == str(wrong) else _read(name))
    for text, check in (
        ("`k8s/bsae/quota.yaml`", test_every_file_and_folder_is_there),
        ("`servicekit.protocol.patience`", test_every_module_is_there),
        ("[there](#nowhere)", test_every_link_leads_somewhere),
        ("`make k8s-secret`", test_every_make_target_is_there_and_reads_its_variables),
        ("`make k8s-secrets FORM=cluster`", test_every_make_target_is_there_and_reads_its_variables),
        ("`kubectl apply -k k8s/overlays/aws`", test_every_kustomization_is_one_that_is_tested),
        ("```bash\ndocker compose stop postgresql\n```", test_every_service_of_compose_is_there),
        ("`terraform output bucket`", test_every_output_of_terraform_is_there),
    ):
        wrong.write_text(text + "\n")
        with pytest.raises(AssertionError):
            check(str(wrong))


def _read(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_shell_can_read_every_block() -> None:
    for name in documents.NAMES:
        for block in documents.blocks(documents.read(name)):
            if block.language == "bash":
                done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
                assert done.returncode == 0, f"{name}: {done.stderr}"
