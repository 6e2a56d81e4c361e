"""The mappings and excerpts that come with the project."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def shipped_names() -> list[str]:
    """Names of the shipped mappings, sorted."""
    return sorted(path.stem for path in (_HERE / "mappings").glob("*.yaml"))


def shipped_mapping(name: str) -> Path | None:
    """File of the shipped mapping of that name; None when there is none."""
    path = _HERE / "mappings" / f"{name}.yaml"
    return path if name in shipped_names() else None


def shipped_excerpt(name: str) -> Path | None:
    """Excerpt of the data set that the shipped mapping of that name is for; None without one."""
    path = _HERE / "excerpts" / f"{name}.csv.gz"
    return path if path.is_file() else None
