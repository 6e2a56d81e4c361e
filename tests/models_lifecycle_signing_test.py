"""An artifact is used only if a known key signed these bytes for this workspace and target."""

from __future__ import annotations

import base64
import json
import multiprocessing
import stat
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.champion.artifact import ArtifactError, artifact_version
from models.champion.graph import build_linear_champion
from models.champion.runtime import ChampionModel
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue
from models.features.encoding import Encoding
from models.lifecycle.signing import (
    PRIVATE_NAME,
    KeyFileError,
    Signer,
    Verifier,
    ensure_development_key,
)

ARTIFACT = b"any bytes: nothing of them is parsed" * 10
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
SIGNATURE = SIGNER.sign(ARTIFACT, "bank", "conversion", "c0ffee")


def verify(
    artifact: bytes = ARTIFACT,
    signature: str | None = SIGNATURE,
    workspace: str = "bank",
    target: str = "conversion",
    catalogue: str = "c0ffee",
    verifier: Verifier = SIGNER.verifier,
) -> str:
    return verifier.verify(artifact, signature, workspace, target, catalogue).version


def changed(**claims: object) -> str:
    """The signature with other claims under the same key's signature."""
    document = json.loads(base64.b64decode(SIGNATURE))
    document["claims"] |= claims
    return base64.b64encode(json.dumps(document).encode()).decode()


def test_what_was_signed_is_used_under_the_name_of_its_content() -> None:
    assert verify() == artifact_version(ARTIFACT)
    assert len(verify()) == 12
    assert SIGNER.sign(ARTIFACT, "bank", "conversion", "c0ffee") == SIGNATURE


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"signature": None}, "not signed"),
        ({"signature": ""}, "not signed"),
        ({"signature": "{"}, "cannot be read"),
        ({"signature": "eyJjbGFpbXMiOiAxfQ=="}, "cannot be read"),
        ({"signature": SIGNATURE[:-8]}, "cannot be read"),
        ({"artifact": ARTIFACT[:-1]}, "cut short: 359 bytes, signed were 360"),
        ({"artifact": ARTIFACT + b" "}, "longer than it was"),
        ({"artifact": b"A" + ARTIFACT[1:]}, "changed after it was signed"),
        ({"artifact": b""}, "cut short"),
        ({"verifier": OTHER.verifier}, f"unknown key '{SIGNER.key_id}'; known: {OTHER.key_id}"),
        ({"workspace": "shop"}, "signed for workspace 'bank', this is 'shop'"),
        ({"target": "churn"}, "signed for target 'conversion', this is 'churn'"),
        ({"catalogue": "beef"}, "signed for catalogue 'c0ffee', this is 'beef'"),
        ({"signature": changed(workspace="shop"), "workspace": "shop"}, "forged or damaged"),
        ({"signature": changed(sha256="0" * 64)}, "forged or damaged"),
        ({"signature": changed(size=3), "artifact": b"abc"}, "forged or damaged"),
        ({"signature": changed(version="v2")}, "forged or damaged"),
        ({"signature": changed(format=2)}, "forged or damaged"),
    ],
)
def test_anything_else_is_refused_and_says_why(given: dict, expected: str) -> None:
    with pytest.raises(ArtifactError, match=expected) as refused:
        verify(**given)
    assert "Fix: " in str(refused.value)


def test_a_new_key_and_the_former_one_are_believed_while_keys_change(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        ensure_development_key(tmp_path / folder)
    signers = [Signer.from_file(tmp_path / folder / PRIVATE_NAME) for folder in ("old", "new")]
    both = Verifier.from_files(tmp_path.glob("*/*.pub.pem"))
    assert both.key_ids == tuple(sorted(signer.key_id for signer in signers))
    for signer in signers:
        assert verify(signature=signer.sign(ARTIFACT, "bank", "conversion", "c0ffee"),
                      verifier=both)  # fmt: skip


def _make_key(folder: str) -> bytes:
    return ensure_development_key(folder).read_bytes()


def test_processes_that_start_at_once_share_one_development_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(6) as pool:
        keys = pool.map(_make_key, [str(tmp_path / "keys")] * 24, chunksize=1)
    assert len(set(keys)) == 1
    folder = tmp_path / "keys"
    assert len(list(folder.iterdir())) == 2  # the pair, nothing half written
    assert stat.S_IMODE((folder / PRIVATE_NAME).stat().st_mode) == 0o600
    assert Verifier.from_folder(folder).key_ids == (Signer.from_file(folder / PRIVATE_NAME).key_id,)


def test_a_lost_public_key_comes_back(tmp_path: Path) -> None:
    ensure_development_key(tmp_path)
    public = next(tmp_path.glob("*.pub.pem"))
    public.unlink()
    ensure_development_key(tmp_path)
    assert public.exists()


def test_key_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    path = ensure_development_key(tmp_path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"chmod 600"):
        Signer.from_file(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        Signer.from_file(tmp_path / "absent.pem")
    junk = tmp_path / "junk.pub.pem"
    junk.write_text("no key")
    junk.chmod(0o600)
    with pytest.raises(KeyFileError, match="no private key"):
        Signer.from_file(junk)
    with pytest.raises(KeyFileError, match="no public key"):
        Verifier.from_folder(tmp_path)
    with pytest.raises(KeyFileError, match="holds no public key"):
        Verifier.from_folder(tmp_path / "absent")


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1())
    path = tmp_path / "ec.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not an Ed25519 key"):
        Signer.from_file(path)


def test_a_real_champion_runs_once_it_is_verified() -> None:
    catalogue = FeatureCatalogue(1, (Attribute("age", "numeric", "numbers.age"),), Behaviour())
    encoding = Encoding(catalogue)
    graph = build_linear_champion(encoding, np.ones(encoding.size))
    signature = SIGNER.sign(graph, "bank", "conversion", catalogue.hash)
    claims = SIGNER.verifier.verify(graph, signature, "bank", "conversion", catalogue.hash)
    champion = ChampionModel(graph, claims.sha256, catalogue)
    assert champion.version == claims.version
