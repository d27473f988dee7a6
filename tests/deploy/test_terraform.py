"""The infrastructure: formatted, the rules that no scanner knows, and Terraform's own tests where it can run them."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.deploy import terraform_rules as rules
from tests.deploy.conftest import FindTool
from tests.deploy.rendering import ROOT

TERRAFORM = ROOT / "terraform"
AWS_ONLY = 'terraform {\n  required_providers {\n    aws = { source = "hashicorp/aws", version = "~> 5.100" }\n  }\n}\n'
Rule = Callable[[str], Iterable[str]]
# Initialises, validates and tests a folder; the words say what was not, where that is impossible.
Terraform = Callable[[Path, str], str]

# rule, file, what a hasty change would take away, what it would put there
RULES: list[tuple[Rule, str, str, str]] = [
    (rules.addons, "eks.tf", 'enableNetworkPolicy = "true"', 'enableNetworkPolicy = "false"'),
    (rules.addons, "eks.tf", "module.ebs_csi_identity.iam_role_arn", '""'),
    (rules.addons, "eks.tf", "metrics-server = {}", ""),
    (rules.metrics_port, "eks.tf", "10251", "4443"),
    (rules.metrics_port, "eks.tf", "source_cluster_security_group = true", 'cidr_blocks = ["0.0.0.0/0"]'),
    (rules.endpoint, "eks.tf", "var.operator_cidrs", '["0.0.0.0/0"]'),
    (rules.endpoint, "eks.tf", '["secrets"]', "[]"),
    (rules.endpoint, "eks.tf", '"audit", ', ""),
    (rules.metadata_service, "eks.tf", '"required"', '"optional"'),
    (rules.metadata_service, "eks.tf", "http_put_response_hop_limit = 1", "http_put_response_hop_limit = 2"),
    (rules.karpenter, "karpenter.tf", "iam:ListInstanceProfiles", "iam:GetInstanceProfile"),
    (rules.karpenter, "karpenter.tf", '"1.9.2"', '"1.x"'),
    (rules.load_balancer_controller, "load_balancer_controller.tf", "enableServiceMutatorWebhook = false", ""),
    (rules.load_balancer_controller, "load_balancer_controller.tf", "Webhook = false", "Webhook = true"),
    (rules.after_the_controller, "karpenter.tf", "helm_release.load_balancer_controller, ", ""),
    (rules.network, "vpc.tf", 'one_nat_gateway_per_az = var.environment == "production"', ""),
    (rules.pinned, "vpc.tf", '"~> 5.21"', '">= 5"'),
    (rules.described, "variables.tf", "type        = string", ""),
    (rules.described, "outputs.tf", "description", "comment"),
]
EVERY_FILE: list[Rule] = [rules.pinned, rules.described, rules.after_the_controller]


@pytest.mark.parametrize(("rule", "file"), list(dict.fromkeys((r, f) for r, f, *_ in RULES)))
def test_holds(rule: Rule, file: str) -> None:
    assert list(rule((TERRAFORM / file).read_text())) == []


@pytest.mark.parametrize("path", sorted(TERRAFORM.rglob("*.tf")), ids=lambda path: str(path.relative_to(TERRAFORM)))
def test_holds_in_every_file(path: Path) -> None:
    if ".terraform" not in path.parts:
        text = path.read_text()
        # The module's strings come from the root, which has looked at them.
        found = [each for rule in EVERY_FILE for each in rule(text)]
        assert [each for each in found if "takes anything" not in each or path.parent == TERRAFORM] == []


@pytest.mark.parametrize(("rule", "file", "good", "bad"), RULES)
def test_a_broken_copy_is_found(rule: Rule, file: str, good: str, bad: str) -> None:
    text = (TERRAFORM / file).read_text()
    assert good in text
    assert list(rule(text.replace(good, bad))), "nobody noticed"


def test_the_example_is_ready_but_for_who_may_come_in() -> None:
    text = (TERRAFORM / "terraform.tfvars.example").read_text()
    assert re.findall(r"(?m)^(\w+)\s*=", text) == ["operator_cidrs", "region", "name", "environment"]
    needed = [
        name
        for name in re.findall(r'(?m)^variable "(\w+)"', (TERRAFORM / "variables.tf").read_text())
        if not re.search(r"(?m)^  default\s", rules.block((TERRAFORM / "variables.tf").read_text(), f'"{name}" {{'))
    ]
    assert needed == ["operator_cidrs"]


def test_the_documents_outputs_are_there() -> None:
    found = set(re.findall(r'(?m)^output "(\w+)"', (TERRAFORM / "outputs.tf").read_text()))
    assert found >= {
        "cluster_endpoint",
        "cluster_name",
        "cluster_version",
        "configure_kubectl",
        "private_subnets",
        "public_subnets",
        "vpc_id",
    }


@pytest.fixture
def run_destroy(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """terraform/destroy with tools that write down what they are asked for."""
    log = tmp_path / "log"
    for name, known in (
        ("terraform", 'output -raw cluster_name) echo "$CLUSTER"'),
        ("kubectl", 'config current-context) echo "$CONTEXT"'),
    ):
        script = f'#!/bin/sh\ncase "$*" in\n"{known.split(")")[0]}"){known.split(")")[1]} ;;\n'
        script += f'*) echo {name} "$@" >>{log} ;;\nesac\n'
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)

    def run(
        *arguments: str, cluster: str, answers: str = "", output: str = "device-statistics"
    ) -> subprocess.CompletedProcess[str]:
        context = f"arn:aws:eks:us-east-1:1:cluster/{cluster}"
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CONTEXT": context, "CLUSTER": output}
        done = subprocess.run(
            [TERRAFORM / "destroy", *arguments], env=env, input=answers, capture_output=True, text=True, check=False
        )
        done.stdout = log.read_text() if log.exists() else ""
        return done

    return run


def test_destroy_goes_in_order(run_destroy: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_destroy(cluster="device-statistics", answers="yes\nyes\n")

    assert done.returncode == 0, done.stderr
    asked = [" ".join(line.split()[:3]) for line in done.stdout.splitlines()]
    assert asked == [
        "kubectl delete ingress",
        "kubectl delete namespace",
        "kubectl delete nodepools.karpenter.sh",
        "kubectl wait nodeclaims.karpenter.sh",
        "kubectl delete ec2nodeclasses.karpenter.k8s.aws",
        "kubectl get persistentvolumes",
        "terraform destroy",
    ]


@pytest.mark.parametrize(
    ("arguments", "cluster", "answers"),
    [
        ((), "another", "yes\nyes\n"),
        ((), "another-device-statistics", "yes\nyes\n"),
        ((), "device-statistics", "no\n"),
        (("--dry-run",), "device-statistics", ""),
    ],
)
def test_destroy_does_nothing(
    arguments: tuple[str, ...],
    cluster: str,
    answers: str,
    run_destroy: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    assert run_destroy(*arguments, cluster=cluster, answers=answers).stdout == ""


@pytest.mark.parametrize("output", ["", "\x1b[33mWarning: \x1b[0mNo outputs found"])
def test_destroy_without_a_state_says_so(
    output: str, run_destroy: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_destroy(cluster="device-statistics", answers="yes\nyes\n", output=output)

    assert (done.returncode, done.stdout) == (1, "")
    assert "knows of no cluster" in done.stderr


def test_formatted(tool: FindTool) -> None:
    subprocess.run([tool("terraform"), "fmt", "-check", "-recursive", "-diff", TERRAFORM], check=True)


@pytest.fixture(scope="session")
def terraform(tool: FindTool, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Initialise a copy and run its tests with Terraform; skips loudly where the provider is out of reach."""
    if "DEPLOY_TOOLS" not in os.environ:
        pytest.skip(
            "NOT CHECKED: TERRAFORM'S VALIDITY AND OWN TESTS, because they take minutes (`make test-deploy` runs them)"
        )
    binary = tool("terraform")
    mirror = next(Path("/opt").glob("*/registry.terraform.io"), None)
    env = dict(os.environ)
    if mirror is not None:
        settings = tmp_path_factory.mktemp("terraform") / "settings.tfrc"
        settings.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror.parent}"\n  }}\n}}\n'
        )
        env["TF_CLI_CONFIG_FILE"] = str(settings)

    def run(folder: Path, what: str) -> str:
        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [binary, f"-chdir={folder}", *arguments]
            return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

        ready = call("init", "-backend=false", "-input=false", "-no-color")
        if ready.returncode:
            why = " ".join(ready.stderr.split())[:200]
            pytest.skip(f"NOT CHECKED: {what}, NEITHER VALIDATED NOR TESTED, because something is out of reach: {why}")
        valid = call("validate", "-no-color")
        assert valid.returncode == 0, valid.stdout + valid.stderr
        tested = call("test", "-no-color")
        assert tested.returncode == 0, tested.stdout + tested.stderr
        return tested.stdout

    return run


def _copy(source: Path, folder: Path) -> Path:
    return Path(shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*")))


def test_the_backups_module(terraform: Terraform, tmp_path: Path) -> None:
    assert "8 passed, 0 failed" in terraform(_copy(TERRAFORM / "backups", tmp_path / "backups"), "THE BACKUPS' BUCKET")


def test_the_backups_module_can_fail(terraform: Terraform, tmp_path: Path) -> None:
    copy = _copy(TERRAFORM / "backups", tmp_path / "backups")
    main = copy / "main.tf"
    main.write_text(main.read_text().replace('"s3:AbortMultipartUpload"', '"s3:DeleteObject"'))

    with pytest.raises(AssertionError, match="cannot destroy a backup"):
        terraform(copy, "WHETHER THE TESTS OF THE BACKUPS' BUCKET CAN FAIL")


def test_every_wrong_value_is_refused(terraform: Terraform, tmp_path: Path) -> None:
    """The variables alone: they need neither the modules nor a provider but AWS's."""
    (tmp_path / "tests").mkdir()
    shutil.copy(TERRAFORM / "variables.tf", tmp_path)
    (tmp_path / "versions.tf").write_text(AWS_ONLY)
    inputs = (TERRAFORM / "tests/inputs.tftest.hcl").read_text()
    inputs = re.sub(r'(?m)^mock_provider "(?!aws)\w+" \{\}\n', "", inputs)
    (tmp_path / "tests/inputs.tftest.hcl").write_text(inputs)

    said = terraform(tmp_path, "WHETHER WRONG VALUES OF VARIABLES ARE REFUSED")

    assert said.count("... pass\n") == 1 + inputs.count("\nrun ")


@pytest.mark.timeout(900)
def test_the_whole_configuration(terraform: Terraform, tmp_path: Path) -> None:
    (tmp_path / "k8s").mkdir()
    assert " 0 failed" in terraform(_copy(TERRAFORM, tmp_path / "terraform"), "THE WHOLE CONFIGURATION")
