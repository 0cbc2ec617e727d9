"""Hand-made acoustic features by openSMILE, and the classifier that usually reads them.

eGeMAPS: Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research
and affective computing", IEEE Trans. Affective Computing 7 (2016). ComParE: Schuller et al., "The
INTERSPEECH 2016 Computational Paralinguistics Challenge", its set of 6373. They are the baseline a
network has to beat. openSMILE's licence is for research, so it is an extra:
`pip install attune[functionals]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError

__all__ = ["COMPARE_FEATURES", "EGEMAPS_FEATURES", "FunctionalsBaseline", "compare", "egemaps"]

EGEMAPS_FEATURES = 88
COMPARE_FEATURES = 6373


def egemaps(
    waveforms: Sequence[npt.NDArray[np.float32]], sample_rate_hz: int = 16_000
) -> npt.NDArray[np.float32]:
    """Compute the 88 eGeMAPS functionals of each clip.

    Args:
        waveforms: (sample,) in [-1, 1], mono, one a clip.
        sample_rate_hz: Their rate.

    Returns:
        (clip, 88); what cannot be computed, as the pitch of silence, is 0.

    Raises:
        InputError: If openSMILE is not installed.
    """
    return _functionals("eGeMAPSv02", waveforms, sample_rate_hz).reshape(-1, EGEMAPS_FEATURES)


def compare(
    waveforms: Sequence[npt.NDArray[np.float32]], sample_rate_hz: int = 16_000
) -> npt.NDArray[np.float32]:
    """Compute the 6373 functionals of ComParE 2016 of each clip.

    Args:
        waveforms: (sample,) in [-1, 1], mono, one a clip.
        sample_rate_hz: Their rate.

    Returns:
        (clip, 6373); what cannot be computed, as the pitch of silence, is 0.

    Raises:
        InputError: If openSMILE is not installed.
    """
    return _functionals("ComParE_2016", waveforms, sample_rate_hz).reshape(-1, COMPARE_FEATURES)


def _functionals(
    feature_set: str, waveforms: Sequence[npt.NDArray[np.float32]], sample_rate_hz: int
) -> npt.NDArray[np.float32]:
    """Functionals (clip, feature) by one of openSMILE's sets."""
    smile = _smile(feature_set)
    rows = [smile.process_signal(w, sample_rate_hz).to_numpy()[0] for w in waveforms]
    return np.nan_to_num(np.array(rows, dtype=np.float32))


@cache
def _smile(feature_set: str) -> Any:
    try:
        import opensmile
    except ImportError as error:
        raise InputError("Expected openSMILE from the extra functionals, found none.") from error
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set],
        feature_level=opensmile.FeatureLevel.Functionals,
    )


class FunctionalsBaseline:
    """Standardised features into a support vector machine with an RBF kernel."""

    def __init__(self) -> None:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        self._pipeline: Any = make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced"))

    def fit(
        self, features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
    ) -> FunctionalsBaseline:
        """Learn from features (clip, feature) and labels (clip,)."""
        self._pipeline.fit(features, labels)
        return self

    @property
    def parameters(self) -> int:
        """How many numbers its support vectors hold."""
        return int(self._pipeline[-1].support_vectors_.size)

    def predict(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Name the likeliest label (clip,) of features (clip, feature)."""
        labels: npt.NDArray[np.int64] = self._pipeline.predict(features)
        return labels
