"""The component in which Terraform names what it has built. kustomize needs the file, with Terraform or without."""

from collections.abc import Mapping
from pathlib import Path

PATH = Path("components/from-terraform/kustomization.yaml")

_HEAD = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
# kustomize refuses a file that names nothing at all.
_NOTHING = f"""\
# Written by `make k8s-secrets`: there is no bucket, so dumps stay in the cluster. `terraform apply` replaces it.
{_HEAD}patches:
  - target: {{ kind: CronJob, name: backup }}
    patch: |-
      - op: add
        path: /metadata/annotations
        value: {{ device-statistics/uploads-to: nowhere }}
"""


def content(bucket: Mapping[str, str] | None, *, database_nodes: bool) -> str:
    """The component's text: the upload to this bucket and the nodes of PostgreSQL, as far as there are such."""
    names = ["../backup-to-s3"] * (bucket is not None) + ["../database-nodes"] * database_nodes
    if not names:
        return _NOTHING
    text = "# Written by `make k8s-secrets`, as the cluster has it. `terraform apply` replaces it.\n" + _HEAD
    text += "components:\n" + "".join(f"  - {name}\n" for name in names)
    if bucket is not None:
        text += "configMapGenerator:\n  - name: bucket\n    literals:\n"
        text += "".join(f"      - {key}={value}\n" for key, value in sorted(bucket.items(), reverse=True))
    return text
