"""Copies manifests from standard input to standard output, with the values of their Secrets redacted."""

import os
import re
import sys
from collections.abc import Iterable, Iterator


def redact(manifests: Iterable[str]) -> Iterator[str]:
    """Yield every line unchanged, except the values under `data` or `stringData` of a Secret."""
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
                yield f"  {found[1]}: (redacted)\n"


def _documents(manifests: Iterable[str]) -> Iterator[list[str]]:
    document: list[str] = []
    for line in manifests:
        if line.rstrip() == "---":
            yield document
            document = []
        document.append(line)
    yield document


def main() -> None:
    """Redact standard input to standard output, until the reader closes the pipe."""
    try:
        sys.stdout.writelines(redact(sys.stdin))
        sys.stdout.flush()
    except BrokenPipeError:
        # `less` was left early: no traceback; and read the rest, or kubectl would report an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for _ in sys.stdin:
            continue


if __name__ == "__main__":
    main()
