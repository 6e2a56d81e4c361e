"""Run a champion: verified before it is parsed, the same bits whatever the batch.

ONNX Runtime's kernels may differ in the last bits with the batch size, so a graph that computes
runs on blocks of exactly `BLOCK` rows, the last one padded with zeros; one that only compares and
looks up takes what there is, `BLOCK` at most. The logit is then the float64 sum bias +
contributions in the terms' order, as for online models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.champion.artifact import ArtifactError, artifact_sha256, verify_artifact
from models.champion.graph import FORMAT, PADDED_BLOCK
from models.explain.mixture import sum_terms
from models.features.catalogue import FeatureCatalogue
from models.online.interface import Terms

__all__ = ["BLOCK", "ArtifactError", "ChampionGraph", "ChampionModel"]

BLOCK = PADDED_BLOCK
_OUTPUTS = ["contributions", "bias"]

Values = NDArray[np.float32] | NDArray[np.float64]
_ERRORS_ONLY = 3


class ChampionModel:
    """One loaded champion; safe to call from several threads."""

    additive = True

    def __init__(
        self, artifact: bytes, sha256: str, catalogue: FeatureCatalogue, gpu: bool = True
    ) -> None:
        """Verify, load and check an artifact.

        Args:
            artifact: ONNX bytes of the form that `graph.py` describes.
            sha256: hex digest published with it; compared before anything is parsed.
            catalogue: the feature rows it will be given.
            gpu: use CUDA where there is a device; the CPU otherwise.

        Raises:
            ArtifactError: wrong digest, not a champion's graph, or made for another catalogue.
        """
        verify_artifact(artifact, sha256)
        self._graph = ChampionGraph(artifact, gpu)
        if self._graph.catalogue != catalogue.hash:
            raise ArtifactError(
                f"the champion was made for catalogue {self._graph.catalogue[:12]}, this is "
                f"{catalogue.hash[:12]}: train one for this catalogue"
            )
        if self._graph.columns != len(catalogue.columns):
            raise ArtifactError(
                f"the champion takes rows of {self._graph.columns} columns, the catalogue has "
                f"{len(catalogue.columns)}: train one for this catalogue"
            )
        self.version = self._graph.version or artifact_sha256(artifact)[:12]
        self.provider = self._graph.provider
        self.names = self._graph.names
        self.contributions(np.zeros((1, len(catalogue.columns)), np.float32))

    def predict_logit(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits [n] of feature rows [n, C]."""
        return self.contributions(rows).logits

    def contributions(self, rows: NDArray[np.float32]) -> Terms:
        """Logits of rows [n, C] as bias + one term per name, in float64."""
        bias, terms = self._graph.run(rows)
        every, wide = np.full(len(rows), bias), terms.astype(np.float64)
        return Terms(self.names, every, wide, sum_terms(every, wide))

    def parts(self, rows: NDArray[np.float32]) -> tuple[float, Values]:
        """Bias and contributions of rows [n, C], as the graph gives them, without their sum."""
        return self._graph.run(rows)


class ChampionGraph:
    """An artifact's graph: parsed, checked for the shape of a champion, and run in blocks.

    Attributes:
        names: of the terms [T].
        columns: how many columns a row has.
        catalogue: hash of the catalogue that it was made for.
        version: as given to the export; may be empty.
        provider: what runs it: CUDAExecutionProvider or CPUExecutionProvider.

    Raises:
        ArtifactError: not a graph, or not of the form that `graph.py` describes.
    """

    def __init__(self, artifact: bytes, gpu: bool) -> None:
        self._session = _session(artifact, gpu)
        meta = self._session.get_modelmeta().custom_metadata_map
        self.names, self._padded, self.columns = _shape(self._session, meta)
        told = {output.name: output.type for output in self._session.get_outputs()}
        self._kind: Any = np.float32 if told["contributions"] == "tensor(float)" else np.float64
        self.catalogue = str(meta.get("catalogue", ""))
        self.version = str(meta.get("version", ""))
        self.provider = str(self._session.get_providers()[0])

    def run(self, rows: NDArray[np.float32]) -> tuple[float, Values]:
        """Bias and contributions [n, T] of rows [n, C], in the type that the graph gives.

        Raises:
            ArtifactError: the graph fails on them or gives other shapes than it says.
        """
        bias, terms, _ = self._run(rows, _OUTPUTS)
        return bias, terms

    def run_whole(self, rows: NDArray[np.float32]) -> tuple[float, Values, NDArray[np.float64]]:
        """Bias, contributions [n, T] and the graph's own logits [n] of rows [n, C]."""
        return self._run(rows, [*_OUTPUTS, "logit"])

    def _run(
        self, rows: NDArray[np.float32], outputs: list[str]
    ) -> tuple[float, Values, NDArray[np.float64]]:
        count = len(rows)
        terms: Values = np.empty((count if count > BLOCK else 0, len(self.names)), self._kind)
        bias, logits = 0.0, np.zeros(count)
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            block = np.ascontiguousarray(rows[start:stop], np.float32)
            if self._padded and stop - start < BLOCK:
                block = np.pad(block, ((0, BLOCK - len(block)), (0, 0)))
            try:
                told = self._session.run(outputs, {"rows": block})
            except Exception as error:  # ONNX Runtime raises classes without a common base
                raise ArtifactError(f"the champion cannot run on its rows: {error}") from error
            if told[0].shape != (len(block), len(self.names)) or told[1].shape != (1,):
                raise ArtifactError(
                    f"the champion gave contributions {told[0].shape} and bias {told[1].shape} "
                    f"for {len(block)} rows and {len(self.names)} terms: export it anew"
                )
            if stop - start == count:  # one block: nothing to put together
                terms = told[0][:count]
            else:
                terms[start:stop] = told[0][: stop - start]
            bias = float(told[1][0])
            if len(told) > 2:
                logits[start:stop] = told[2][: stop - start]
        return bias, terms, logits


def _shape(session: Any, meta: dict[str, str]) -> tuple[tuple[str, ...], bool, int]:
    """Names of the terms, whether blocks must be full, and the number of columns."""
    found = {output.name: output for output in session.get_outputs()}
    inputs = session.get_inputs()
    if not set(_OUTPUTS) <= set(found) or [i.name for i in inputs] != ["rows"]:
        raise ArtifactError(
            f"a champion takes rows and gives {' and '.join(_OUTPUTS)}, this takes "
            f"{[i.name for i in inputs]} and gives {list(found)}: export it by leadstream"
        )
    if meta.get("format") != FORMAT:
        raise ArtifactError(
            f"the champion has the format {meta.get('format')!r}, this program reads {FORMAT!r}: "
            "export it anew"
        )
    try:
        names = tuple(str(term["name"]) for term in json.loads(meta["terms"]))
        padded = int(meta["padded_block"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"the champion's metadata cannot be read: {error!r}") from error
    rows, given = inputs[0].shape, found["contributions"].shape
    if len(rows) != 2 or not isinstance(rows[1], int) or padded not in (0, BLOCK):
        raise ArtifactError(f"the champion takes {rows} in blocks of {padded}: export it anew")
    if len(given) != 2 or given[1] != len(names) or len(set(names)) != len(names):
        raise ArtifactError(f"the champion names {len(names)} terms but gives {given}")
    return names, padded > 0, rows[1]


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
