"""Ed25519 signatures of artifacts, verified before any byte of an artifact is parsed.

What is signed are claims: which bytes (SHA-256 and length), made for which workspace, target and
catalogue, under which version. A signature's text is base64 of JSON, claims and all, so that a
refusal can say what was signed instead; no claim is believed before the signature over all holds.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.champion.artifact import ArtifactError, artifact_sha256, artifact_version

FORMAT = 1
PRIVATE_NAME = "signing_key.pem"
PUBLIC_SUFFIX = ".pub.pem"
_PREFIX = b"leadstream artifact\n"  # a key that signs other things too cannot be made to sign ours


class KeyFileError(ValueError):
    """A key file cannot be used; the message says why and what to do."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a signature says of an artifact."""

    format: int
    sha256: str
    size: int
    workspace: str
    target: str
    catalogue: str
    version: str


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    claims: Claims
    key: str
    ed25519: bytes  # base64 in JSON


class Signer:
    """Signs artifacts with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    @classmethod
    def from_file(cls, path: Path | str) -> Signer:
        """Read a PEM file (PKCS 8, Ed25519, no password) that only its owner may read.

        Raises:
            KeyFileError: no such file, readable by others, or another kind of key.
        """
        path = Path(path)
        data = _read(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyFileError(f"{path}: others may read this private key. Fix: chmod 600 {path}")
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{path}: no private key without password: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(
                f"{path}: not an Ed25519 key. Fix: openssl genpkey -algorithm ed25519 -out {path}"
            )
        return cls(key)

    @property
    def verifier(self) -> Verifier:
        """Of what this key signed, and nothing else."""
        return Verifier([self._key.public_key()])

    def sign(self, artifact: bytes, workspace: str, target: str, catalogue: str) -> str:
        """The signature of an artifact, as text to be published beside it.

        Args:
            artifact: Its bytes; they give SHA-256, size and version.
            workspace: For which it was trained.
            target: Which it predicts.
            catalogue: Hash of the feature catalogue that its rows must have.
        """
        digest, version = artifact_sha256(artifact), artifact_version(artifact)
        claims = Claims(FORMAT, digest, len(artifact), workspace, target, catalogue, version)
        signature = _Signature(claims, self.key_id, self._key.sign(_signed_bytes(claims)))
        return base64.b64encode(msgspec.json.encode(signature)).decode()


class Verifier:
    """Knows the public keys whose signatures are believed; several while keys are rotated."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {key_id(key): key for key in keys}

    @classmethod
    def from_files(cls, paths: Iterable[Path | str]) -> Verifier:
        """Read public keys, a PEM file each.

        Raises:
            KeyFileError: no such file, or another kind of key.
        """
        keys = []
        for path in map(Path, paths):
            try:
                key = serialization.load_pem_public_key(_read(path))
            except (ValueError, UnsupportedAlgorithm) as error:
                raise KeyFileError(f"{path}: no public key in PEM: {error}") from error
            if not isinstance(key, Ed25519PublicKey):
                raise KeyFileError(f"{path}: not an Ed25519 public key")
            keys.append(key)
        return cls(keys)

    @classmethod
    def from_folder(cls, folder: Path | str) -> Verifier:
        """Read every `*.pub.pem` of a folder.

        Raises:
            KeyFileError: there is none, or one cannot be read.
        """
        paths = sorted(Path(folder).glob(f"*{PUBLIC_SUFFIX}"))
        if not paths:
            raise KeyFileError(
                f"{folder}: holds no public key. Fix: put the signers' keys there as "
                f"NAME{PUBLIC_SUFFIX}"
            )
        return cls.from_files(paths)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Of the keys that are believed."""
        return tuple(sorted(self._keys))

    def verify(
        self, artifact: bytes, signature: str | None, workspace: str, target: str, catalogue: str
    ) -> Claims:
        """What was signed of an artifact, if it may be used here; nothing of it is parsed.

        Raises:
            ArtifactError: unsigned, signed by an unknown key, changed, cut, or signed for another
                workspace, target or catalogue.
        """
        if not signature:
            raise ArtifactError(
                "the champion artifact is not signed. Fix: publish it with `leadstream models`, "
                "which signs it"
            )
        claims = self._believed(signature)
        if len(artifact) != claims.size:
            change = "cut short" if len(artifact) < claims.size else "longer than it was"
            raise ArtifactError(
                f"the champion artifact is {change}: {len(artifact)} bytes, signed were "
                f"{claims.size}. Fix: publish it again"
            )
        if artifact_sha256(artifact) != claims.sha256:
            raise ArtifactError(
                f"the champion artifact was changed after it was signed: SHA-256 is "
                f"{artifact_version(artifact)}…, signed was {claims.sha256[:12]}…. "
                "Fix: publish it again"
            )
        here = {"workspace": workspace, "target": target, "catalogue": catalogue}
        for name, expected in here.items():
            found = getattr(claims, name)
            if found != expected:
                raise ArtifactError(
                    f"the champion was signed for {name} {found[:64]!r}, this is {expected!r}. "
                    f"Fix: train one for this {name}"
                )
        if claims.version != artifact_version(artifact):
            raise ArtifactError(
                f"the champion calls itself {claims.version[:64]!r}, its bytes are "
                f"{artifact_version(artifact)}. Fix: sign it with this program"
            )
        return claims

    def _believed(self, signature: str) -> Claims:
        try:
            text = base64.b64decode(signature, validate=True)
            read = msgspec.json.decode(text, type=_Signature)
        except (msgspec.DecodeError, ValueError) as error:
            raise ArtifactError(
                f"the champion's signature cannot be read: {error}. Fix: publish it again"
            ) from error
        key = self._keys.get(read.key)
        if key is None:
            known = ", ".join(self.key_ids) or "none"
            raise ArtifactError(
                f"the champion is signed by the unknown key {read.key[:64]!r}; known: {known}. "
                "Fix: add that signer's public key, if it is one of yours"
            )
        try:
            key.verify(read.ed25519, _signed_bytes(read.claims))
        except InvalidSignature:
            raise ArtifactError(
                f"the champion's signature is forged or damaged: key {read.key} did not sign "
                "these claims. Fix: publish it again"
            ) from None
        if read.claims.format != FORMAT:
            raise ArtifactError(
                f"the champion's signature has format {read.claims.format}, this program reads "
                f"{FORMAT}. Fix: sign it with this version"
            )
        return read.claims


def key_id(key: Ed25519PublicKey) -> str:
    """A public key's name: 16 hex digits of the SHA-256 of its 32 bytes."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def ensure_development_key(folder: Path | str) -> Path:
    """Path of a private key in `folder`, made with its public key if there is none.

    Safe when several processes start at once: all end with the same key. For laptops and tests; in
    production the private key belongs to the signing role alone.
    """
    folder = Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / PRIVATE_NAME
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _place_once(path, pem, 0o600)
    signer = Signer.from_file(path)
    public = folder / f"{signer.key_id}{PUBLIC_SUFFIX}"
    if not public.exists():
        key = signer._key.public_key()
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _place_once(public, pem, 0o644)
    return path


def _place_once(path: Path, data: bytes, mode: int) -> None:
    """Write a whole file, or leave the one that another process placed meanwhile."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # made with 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        try:
            os.link(name, path)  # fails where a file is: the first one stays
        except FileExistsError:
            return
    finally:
        os.unlink(name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            f"{path}: cannot be read: {error.strerror}. Fix: create the key or correct the path"
        ) from error


def _signed_bytes(claims: Claims) -> bytes:
    return _PREFIX + msgspec.json.encode(claims, order="deterministic")
