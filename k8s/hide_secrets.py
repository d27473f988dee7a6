"""Copies manifests from standard input to standard output, without what is in their Secrets."""

import os
import re
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


def main() -> None:
    """From standard input to standard output, as far as anybody reads it."""
    try:
        sys.stdout.writelines(hide(sys.stdin))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever leaves `less` early wants no traceback, nor a complaint of kubectl's that nobody takes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for _ in sys.stdin:
            continue


if __name__ == "__main__":
    main()
