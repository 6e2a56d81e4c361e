"""Run a champion: verified before it is parsed, the same bits whatever the batch.

ONNX Runtime's kernels may differ in the last bits with the batch size, so a graph always runs on
blocks of exactly `BLOCK` rows, the last one padded with zeros. The logit is then the float64 sum
bias + contributions in column order, as for online models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.champion.artifact import ArtifactError, artifact_sha256, verify_artifact
from models.explain.mixture import sum_terms
from models.features.catalogue import FeatureCatalogue
from models.online.interface import Terms

__all__ = ["BLOCK", "ArtifactError", "ChampionModel"]

BLOCK = 256
_ERRORS_ONLY = 3


class ChampionModel:
    """One loaded champion; safe to call from several threads."""

    additive = True

    def __init__(
        self, artifact: bytes, sha256: str, catalogue: FeatureCatalogue, gpu: bool = True
    ) -> None:
        """Verify, load and check an artifact.

        Args:
            artifact: ONNX bytes of `build_linear_champion` or of the same shape.
            sha256: hex digest published with it; compared before anything is parsed.
            catalogue: the feature rows it will be given.
            gpu: use CUDA where there is a device; the CPU otherwise.

        Raises:
            ArtifactError: wrong digest, not a graph, or made for another catalogue.
        """
        verify_artifact(artifact, sha256)
        self._session = _session(artifact, gpu)
        meta = self._session.get_modelmeta().custom_metadata_map
        if meta.get("catalogue") != catalogue.hash:
            raise ArtifactError(
                f"the champion was made for catalogue {str(meta.get('catalogue'))[:12]}, this is "
                f"{catalogue.hash[:12]}: train one for this catalogue"
            )
        self.version = str(meta.get("version") or artifact_sha256(artifact)[:12])
        self.provider = str(self._session.get_providers()[0])
        self.names = catalogue.column_names
        outputs = [output.name for output in self._session.get_outputs()]
        if not {"contributions", "bias"} <= set(outputs):
            raise ArtifactError(f"a champion gives contributions and bias, this gives {outputs}")
        self.contributions(np.zeros((1, len(self.names)), np.float32))

    def predict_logit(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits [n] of feature rows [n, C]."""
        return self.contributions(rows).logits

    def contributions(self, rows: NDArray[np.float32]) -> Terms:
        """Logits of rows [n, C] as bias + one term per column, in float64."""
        count, columns = rows.shape
        terms = np.empty((count, columns))
        bias = np.zeros(count)
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            block = np.zeros((BLOCK, columns), np.float32)
            block[: stop - start] = rows[start:stop]
            part, constant = self._session.run(["contributions", "bias"], {"rows": block})
            terms[start:stop] = part[: stop - start]
            bias[start:stop] = constant[0]
        return Terms(self.names, bias, terms, sum_terms(bias, terms))


def _session(artifact: bytes, gpu: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    if gpu and _has_gpu():
        onnxruntime.preload_dlls()
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(artifact, options, providers=providers)
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        raise ArtifactError(f"the champion is no graph that can run: {error}") from error


def _has_gpu() -> bool:
    """Whether to try CUDA; asked beforehand, since trying prints errors on a machine without."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return False
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))
