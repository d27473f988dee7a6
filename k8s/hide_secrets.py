"""Copies manifests from standard input to standard output, without what is in their Secrets."""

import re
import signal
import sys
from collections.abc import Iterable, Iterator


def hide(manifests: Iterable[str]) -> Iterator[str]:
    """Every line as it came, but for the values under `data` or `stringData` of a Secret."""
    for document in _documents(manifests):
        secret = "kind: Secret\n" in document
        inside = False
        for line in document:
            if not line.startswith((" ", "\n")):
                inside = secret and line.rstrip() in {"data:", "stringData:"}
                yield line
            elif not inside:
                yield line
            elif found := re.match(r"  (?=\S)([^:]+):", line):  # what follows more deeply is the value's
                yield f"  {found[1]}: (hidden)\n"


def _documents(manifests: Iterable[str]) -> Iterator[list[str]]:
    document: list[str] = []
    for line in manifests:
        if line.rstrip() == "---":
            yield document
            document = []
        document.append(line)
    yield document


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever leaves `less` early wants no traceback
    sys.stdout.writelines(hide(sys.stdin))
