"""The identity of an artifact: what is published beside its bytes and checked before parsing."""

from __future__ import annotations

import hashlib
import hmac


class ArtifactError(ValueError):
    """An artifact is not what was published, or is not a champion of this catalogue."""


def artifact_sha256(artifact: bytes) -> str:
    """Hex SHA-256 of an artifact, as published beside it."""
    return hashlib.sha256(artifact).hexdigest()


def artifact_version(artifact: bytes) -> str:
    """A champion's version: the first 12 digits of its SHA-256, so that content names itself."""
    return artifact_sha256(artifact)[:12]


def verify_artifact(artifact: bytes, sha256: str) -> None:
    """Raise ArtifactError unless the bytes are the ones published under this digest."""
    found = artifact_sha256(artifact)
    if not hmac.compare_digest(found, sha256.lower()):
        raise ArtifactError(
            f"champion artifact has SHA-256 {found[:12]}…, published was {sha256[:12]}…: "
            "it was changed or cut; publish it again"
        )
