"""How much an image adds to the one it is built on."""

from dataclasses import dataclass

from tests.compose.stack import APIS, BASE_IMAGE, PROJECT, docker

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ImageSize:
    """Uncompressed, in bytes, as `docker image ls` counts."""

    name: str
    bytes: int
    base_bytes: int

    @property
    def added_megabytes(self) -> float:
        return (self.bytes - self.base_bytes) / MEGABYTE

    def __str__(self) -> str:
        base = f"base {self.base_bytes / MEGABYTE:.0f} MB"
        return f"{self.name:<26} {self.bytes / MEGABYTE:6.0f} MB = {base} + {self.added_megabytes:.1f} MB"


def api_image_sizes() -> list[ImageSize]:
    """Of both services' images."""
    if docker("image", "inspect", BASE_IMAGE, check=False).returncode != 0:
        docker("pull", "--quiet", BASE_IMAGE)  # some builders keep what they pulled to themselves
    base = _bytes(BASE_IMAGE)
    return [ImageSize(name, _bytes(f"{PROJECT}-{name}"), base) for name in APIS]


def _bytes(image: str) -> int:
    # The sum over the layers: `inspect` means compressed bytes on some engines, and unpacked ones on others.
    printed = docker("history", "--human=false", "--format={{.Size}}", image).stdout.decode()
    return sum(int(line) for line in printed.split())
