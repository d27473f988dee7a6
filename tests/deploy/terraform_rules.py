"""What the cluster must be, read from the configuration itself: scanners do not see these. A sentence a violation."""

import re
from collections.abc import Iterator


def block(text: str, head: str) -> str:
    """The text of one block, by its first line. Raises KeyError when it is not there."""
    start = text.find(head)
    if start < 0:
        raise KeyError(head)
    depth = 0
    for position in range(text.index("{", start), len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start : position + 1]
    raise KeyError(head)


def _code(text: str) -> str:
    return re.sub(r"(?m)^\s*#.*$|\s+#.*$", "", text)


def addons(text: str) -> Iterator[str]:
    """Policies are enforced, volumes bind, autoscalers know a load, pods get an identity."""
    found = block(_code(text), "cluster_addons = {")
    if not re.search(r'enableNetworkPolicy\s*=\s*"true"', block(found, "vpc-cni = {")):
        yield "every NetworkPolicy is inert"
    driver = block(found, "aws-ebs-csi-driver = {") if "aws-ebs-csi-driver = {" in found else ""
    if "module.ebs_csi_identity.iam_role_arn" not in driver:
        yield "no volume binds"
    if not re.search(r"metrics-server\s*=", found) or not re.search(r"eks-pod-identity-agent\s*=", found):
        yield "an add-on is missing"


def metrics_port(text: str) -> Iterator[str]:
    """The control plane reaches metrics-server on the add-on's port."""
    rules = block(_code(text), "node_security_group_additional_rules = {")
    opened = re.search(r"from_port\s*=\s*10251\s+to_port\s*=\s*10251", rules)
    if not opened or not re.search(r"source_cluster_security_group\s*=\s*true", rules):
        yield "every autoscaler is blind"
    if re.search(r'cidr_blocks\s*=\s*\["0\.0\.0\.0/0"\]', rules):
        yield "a port of the nodes is open to the world"


def endpoint(text: str) -> Iterator[str]:
    """The API endpoint is for the operators; secrets are encrypted; the control plane's logs are kept."""
    code = _code(text)
    if not re.search(r"cluster_endpoint_public_access_cidrs\s*=\s*var\.operator_cidrs", code):
        yield "the API endpoint is open to the world"
    if not re.search(r'cluster_encryption_config\s*=\s*\{\s*resources\s*=\s*\["secrets"\]', code):
        yield "secrets are not encrypted with a key of ours"
    logs = re.search(r"cluster_enabled_log_types\s*=\s*\[([^\]]*)\]", code)
    wanted = {"api", "audit", "authenticator", "controllerManager", "scheduler"}
    if not logs or set(re.findall(r'"(\w+)"', logs[1])) != wanted:
        yield "a log of the control plane is missing"


def metadata_service(text: str) -> Iterator[str]:
    """A pod cannot borrow its node's identity."""
    options = block(_code(text), "metadata_options = {")
    if not re.search(r'http_tokens\s*=\s*"required"', options):
        yield "version 1 of the metadata service"
    if not re.search(r"http_put_response_hop_limit\s*=\s*1\s", options):
        yield "pods reach the metadata service"


def karpenter(text: str) -> Iterator[str]:
    """What Karpenter's role needs since 1.7, and a pinned chart."""
    code = _code(text)
    if "iam:ListInstanceProfiles" not in code:
        yield "Karpenter cannot list instance profiles"
    if not re.search(r'karpenter_version\s*=\s*"\d+\.\d+\.\d+"', code):
        yield "Karpenter is not pinned"
    if not re.search(r'namespace\s*=\s*"karpenter"', block(code, 'module "karpenter" {')):
        yield "the identity is another namespace's"


def load_balancer_controller(text: str) -> Iterator[str]:
    """No webhook of the controller's stands between the cluster and a new Service."""
    release = block(_code(text), 'resource "helm_release" "load_balancer_controller" {')
    if not re.search(r"enableServiceMutatorWebhook\s*=\s*false", release):
        yield "nobody can make a Service while the controller is away"


def after_the_controller(text: str) -> Iterator[str]:
    """A chart that makes a Service is installed when the load balancer controller's webhooks answer."""
    code = _code(text)
    for name in re.findall(r'(?m)^resource "helm_release" "(\w+)"', code):
        # One brings definitions alone, the other is the controller.
        if name in {"karpenter_crd", "load_balancer_controller"}:
            continue
        needed = re.search(r"depends_on\s*=\s*\[([^\]]*)\]", block(code, f'resource "helm_release" "{name}" {{'))
        if not needed or "helm_release.load_balancer_controller" not in needed[1]:
            yield f"{name} is installed beside the load balancer controller, whose webhook may refuse its Service"


def network(text: str) -> Iterator[str]:
    """In production the way out of a zone does not lead through another."""
    code = _code(text)
    if not re.search(r'one_nat_gateway_per_az\s*=\s*var\.environment == "production"', code):
        yield "one zone's end is the end of all"


def pinned(text: str) -> Iterator[str]:
    """Every module and chart says which version."""
    for source, version in re.findall(
        r'source\s*=\s*"(terraform-aws-modules/[^"]+)"\s*(?:version\s*=\s*"([^"]+)")?', text
    ):
        if not version.startswith("~> "):
            yield f"{source} is not pinned"


def described(text: str) -> Iterator[str]:
    """Every variable has a type, a description and, where it can be wrong, a validation; outputs have a description."""
    for kind, name in re.findall(r'(?m)^(variable|output) "(\w+)"', text):
        body = block(text, f'{kind} "{name}" {{')
        if not re.search(r'description\s*=\s*"\S', body):
            yield f"{kind} {name} is not described"
        if kind == "variable":
            typed = re.search(r"(?m)^\s+type\s+=\s+(\S+)", body)
            if not typed:
                yield f"variable {name} has no type"
            elif typed[1] != "bool" and "validation {" not in body:
                yield f"variable {name} takes anything"
