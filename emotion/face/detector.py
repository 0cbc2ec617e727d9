"""Faces in a frame: MTCNN (Zhang, Zhang, Li & Qiao 2016, arXiv:1604.02878), as in facenet-pytorch.

`detect` runs the whole cascade. `refine` runs its last stage alone on a box that is already nearly
right: it costs a fiftieth of the cascade, so a tracked face is followed with it between detections.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from facenet_pytorch.models import mtcnn
from facenet_pytorch.models.utils.detect_face import bbreg, detect_face, rerec
from torch import Tensor, nn
from torch.nn.functional import interpolate

from emotion.errors import InputError

__all__ = ["Box", "DetectedFace", "FaceDetector"]

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""

_STAGE_THRESHOLDS = (0.6, 0.7, 0.7)
_PYRAMID_FACTOR = 0.709
_ONET_SIDE = 48
_MIN_SIDE = 24


@dataclass(frozen=True)
class DetectedFace:
    """One face in one frame.

    Attributes:
        box: (left, top, right, bottom) in pixels; may reach over the border.
        landmarks: Left eye, right eye, nose, left and right corner of the mouth as they appear in
            the picture, (point, xy) in pixels.
        score: Probability that this is a face, in [0, 1].
    """

    box: Box
    landmarks: npt.NDArray[np.float32]
    score: float

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.box[3] - self.box[1]


class FaceDetector:
    """MTCNN with the weights facenet-pytorch carries.

    Args:
        device: Where to run.
        max_side: Longer side a picture is reduced to before the search, in pixels.
        min_face: Smallest face that is looked for, in pixels of the reduced picture.
    """

    def __init__(
        self, device: torch.device | str = "cpu", max_side: int = 320, min_face: int = 24
    ) -> None:
        self._device = torch.device(device)
        self._max_side = max_side
        self._min_face = min_face
        self._nets = [_load(name).to(self._device) for name in ("PNet", "RNet", "ONet")]

    @torch.inference_mode()
    def detect(self, frame: npt.NDArray[np.uint8]) -> list[DetectedFace]:
        """Find every face in a frame, the largest first.

        Args:
            frame: (height, width, 3) RGB uint8.

        Raises:
            InputError: If the frame has another shape or type.
        """
        _check(frame)
        if min(frame.shape[:2]) < _MIN_SIDE:
            return []
        scale = min(1.0, self._max_side / max(frame.shape[:2]))
        reduced = _resize(_pixels(frame).to(self._device), scale)
        if min(reduced.shape[-2:]) < _MIN_SIDE:
            return []
        boxes, points = detect_face(
            reduced.permute(0, 2, 3, 1),
            self._min_face,
            *self._nets,
            _STAGE_THRESHOLDS,
            _PYRAMID_FACTOR,
            self._device,
        )
        faces = [
            _face(box[:4] / scale, landmarks / scale, box[4])
            for box, landmarks in zip(boxes[0], points[0], strict=True)
        ]
        return sorted(faces, key=lambda face: -face.height)

    @torch.inference_mode()
    def refine(self, frame: npt.NDArray[np.uint8], boxes: list[Box]) -> list[DetectedFace | None]:
        """Follow faces whose boxes in the frame before are known; None where one is lost.

        Args:
            frame: (height, width, 3) RGB uint8.
            boxes: Where the faces were.
        """
        if not boxes:
            return []
        _check(frame)
        squares = rerec(torch.tensor(boxes, dtype=torch.float32)).round()
        patches = torch.cat([_patch(frame, square) for square in squares]).to(self._device)
        offsets, landmarks, scores = self._nets[2]((patches - 127.5) * 0.0078125)
        refined = bbreg(squares.clone(), offsets.cpu())
        return [
            self._accept(square, box, points, float(score))
            for square, box, points, score in zip(
                squares, refined, landmarks.cpu(), scores[:, 1].cpu(), strict=True
            )
        ]

    @staticmethod
    def _accept(square: Tensor, box: Tensor, points: Tensor, score: float) -> DetectedFace | None:
        if score < _STAGE_THRESHOLDS[2]:
            return None
        side = square[2] - square[0] + 1
        landmarks = torch.stack([points[:5], points[5:]], dim=1) * side + square[:2] - 1
        return _face(box.numpy(), landmarks.numpy(), score)


def _load(name: str) -> nn.Module:
    net: nn.Module = getattr(mtcnn, name)(pretrained=False)
    file = Path(mtcnn.__file__).parent.parent / "data" / f"{name.lower()}.pt"
    net.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    return net.eval()


def _face(
    box: npt.NDArray[np.floating], landmarks: npt.NDArray[np.floating], score: float
) -> DetectedFace:
    left, top, right, bottom = (float(edge) for edge in box)
    return DetectedFace((left, top, right, bottom), landmarks.astype(np.float32), float(score))


def _check(frame: npt.NDArray[np.uint8]) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise InputError(
            f"Expected a frame of shape (height, width, 3), uint8 RGB, got {frame.shape}, "
            f"{frame.dtype}."
        )


def _pixels(frame: npt.NDArray[np.uint8]) -> Tensor:
    """(height, width, 3) uint8 → (1, 3, height, width) float32."""
    return torch.tensor(frame).permute(2, 0, 1).unsqueeze(0).float()


def _resize(pixels: Tensor, scale: float) -> Tensor:
    """(1, 3, height, width) → the same, smaller."""
    if scale == 1.0:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[-2:])
    return interpolate(pixels, size=(height, width), mode="area")


def _patch(frame: npt.NDArray[np.uint8], square: Tensor) -> Tensor:
    """Cut a square out of (height, width, 3), zeros outside → (1, 3, 48, 48)."""
    left, top, right, bottom = (int(edge) for edge in square)
    height, width = frame.shape[:2]
    patch = np.zeros((max(bottom - top, 1), max(right - left, 1), 3), np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x1 > x0 and y1 > y0:
        patch[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
    return interpolate(_pixels(patch), size=(_ONET_SIDE, _ONET_SIDE), mode="area")
