"""Hand-made acoustic features: eGeMAPS by openSMILE, and the classifier that usually reads them.

Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and
affective computing", IEEE Trans. Affective Computing 7 (2016). They are the baseline a network has
to beat. openSMILE's licence is for research, so it is an extra: `pip install attune[functionals]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError

__all__ = ["EGEMAPS_FEATURES", "FunctionalsBaseline", "egemaps"]

EGEMAPS_FEATURES = 88


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
    try:
        import opensmile
    except ImportError as error:
        raise InputError("Expected openSMILE from the extra functionals, found none.") from error
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    rows = [smile.process_signal(w, sample_rate_hz).to_numpy()[0] for w in waveforms]
    return np.nan_to_num(np.array(rows, dtype=np.float32).reshape(-1, EGEMAPS_FEATURES))


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

    def predict(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Name the likeliest label (clip,) of features (clip, feature)."""
        labels: npt.NDArray[np.int64] = self._pipeline.predict(features)
        return labels
