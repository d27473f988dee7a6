"""Prints the commands of a chapter of docs/operations.md as one script, for a cluster that an overlay is applied to:

python3 -m tests.deploy.walk "Restore for real" k8s/overlays/local | bash -euxo pipefail

Standard library only: CI's cluster job runs it without an environment.
"""

import re
import sys

from tests.deploy import documents

OPERATIONS = "docs/operations.md"
# In a script, an alias is not expanded.
_PRELUDE = 'k() { kubectl --namespace device-statistics "$@"; }\n'


def script(title: str, overlay: str) -> str:
    """The blocks of a chapter as they are pasted, with the root of k8s/ replaced by an overlay."""
    chapter = documents.chapter(documents.read(OPERATIONS), title)
    text = "".join(block.text for block in documents.blocks(chapter) if block.language == "bash")
    return _PRELUDE + re.sub(r"(?m)^(kubectl apply -k) k8s/(?=\s|$)", rf"\1 {overlay}", text)


if __name__ == "__main__":
    sys.stdout.write(script(sys.argv[1], sys.argv[2]))
