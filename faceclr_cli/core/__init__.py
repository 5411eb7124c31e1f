"""The core package: everything that `faceclr` does, without a terminal.

Each command is a function here, which takes its config and a reporter and gives back a result. What `__all__` names
is stable, and docs/python.md shows how it is used; modules below may change with any release.

A name is imported from where it lives when it is first asked for, so that nobody waits for PyTorch or OpenCV who does
not need them, and `faceclr --help` for neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceclr_cli.core.configs.calibrate import CalibrateConfig
    from faceclr_cli.core.configs.center import CenterConfig
    from faceclr_cli.core.configs.cluster import ClusterConfig
    from faceclr_cli.core.configs.embed import EmbedConfig
    from faceclr_cli.core.configs.export import ExportConfig
    from faceclr_cli.core.configs.forget import ForgetConfig
    from faceclr_cli.core.configs.identify import IdentifyConfig
    from faceclr_cli.core.configs.info import InfoConfig
    from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
    from faceclr_cli.core.configs.prepare import PrepareConfig
    from faceclr_cli.core.configs.pretrain import PretrainConfig
    from faceclr_cli.core.configs.split import SplitConfig
    from faceclr_cli.core.configs.triplet import TripletConfig
    from faceclr_cli.core.configs.tsne import TsneConfig
    from faceclr_cli.core.configs.verify import VerifyConfig
    from faceclr_cli.core.datasets.prepare import PreparePlan, PrepareResult
    from faceclr_cli.core.datasets.prepare import run as prepare
    from faceclr_cli.core.datasets.split import SplitResult
    from faceclr_cli.core.datasets.split import run as split
    from faceclr_cli.core.embeddings.embed import EmbedResult
    from faceclr_cli.core.embeddings.embed import run as embed
    from faceclr_cli.core.embeddings.store import Store, read_store, write_store
    from faceclr_cli.core.encoders.base import Encoder
    from faceclr_cli.core.encoders.calibration import Calibration
    from faceclr_cli.core.encoders.export import ExportResult
    from faceclr_cli.core.encoders.export import run as export
    from faceclr_cli.core.encoders.load import load_encoder
    from faceclr_cli.core.errors import (
        ConfigError,
        DataError,
        FaceclrError,
        FingerprintError,
        InterruptedRunError,
        LockedError,
        ModelError,
        NoFaceError,
        StoppedError,
        TerminatedRunError,
        TooManyBadFilesError,
        UnreadableImageError,
    )
    from faceclr_cli.core.evaluation.all_pairs import AllPairsResult
    from faceclr_cli.core.evaluation.calibrate import CalibrateResult
    from faceclr_cli.core.evaluation.calibrate import run as calibrate
    from faceclr_cli.core.evaluation.cluster import run as cluster
    from faceclr_cli.core.evaluation.clustered import ClusterResult
    from faceclr_cli.core.evaluation.identify import Identified, identify
    from faceclr_cli.core.evaluation.linear_eval import LinearEvalResult
    from faceclr_cli.core.evaluation.linear_eval import run as linear_eval
    from faceclr_cli.core.evaluation.open_set import OpenSetResult
    from faceclr_cli.core.evaluation.open_set import evaluate as evaluate_identify
    from faceclr_cli.core.evaluation.pairs import PairsResult
    from faceclr_cli.core.evaluation.project import MapResult
    from faceclr_cli.core.evaluation.project import run as tsne
    from faceclr_cli.core.evaluation.verdicts import PairVerdict, verdicts
    from faceclr_cli.core.evaluation.verify import VerifyResult
    from faceclr_cli.core.evaluation.verify import run as verify
    from faceclr_cli.core.events import (
        EpochFinished,
        Event,
        Notice,
        Reporter,
        Silent,
        TaskAdvanced,
        TaskFinished,
        TaskStarted,
    )
    from faceclr_cli.core.faces.crop import AlignedFace, PhotoCropper
    from faceclr_cli.core.faces.decode import read_photo
    from faceclr_cli.core.faces.detect import Face, Selection
    from faceclr_cli.core.faces.drawn import write_people
    from faceclr_cli.core.faces.fingerprint import Fingerprint
    from faceclr_cli.core.losses.center import CenterLoss
    from faceclr_cli.core.losses.classifier import Classifier
    from faceclr_cli.core.losses.moco import QueueContrast
    from faceclr_cli.core.losses.nt_xent import NTXent
    from faceclr_cli.core.losses.triplet import TripletLoss
    from faceclr_cli.core.metrics.classification import ClassScores, class_scores, top_k_accuracy
    from faceclr_cli.core.metrics.clustering import ClusterScores, cluster_scores
    from faceclr_cli.core.metrics.knn import knn_accuracy
    from faceclr_cli.core.metrics.search import Matches, PeopleIndex
    from faceclr_cli.core.metrics.verification import (
        FoldAccuracy,
        OperatingPoint,
        Roc,
        auc,
        best_threshold,
        cosine_scores,
        eer,
        every_pair,
        k_fold_accuracy,
        roc,
        tar_at_far,
    )
    from faceclr_cli.core.training.run import TrainResult
    from faceclr_cli.core.training.run import run as pretrain
    from faceclr_cli.core.training.run import run as train_center
    from faceclr_cli.core.training.run import run as train_triplet
    from faceclr_cli.core.upkeep.forget import ForgetResult
    from faceclr_cli.core.upkeep.forget import run as forget
    from faceclr_cli.core.upkeep.info import InfoResult
    from faceclr_cli.core.upkeep.info import run as info

# Type checkers read the imports above and this list, and Python the table below. A test holds the three together.
__all__ = [
    "AlignedFace", "AllPairsResult", "CalibrateConfig", "CalibrateResult", "Calibration", "CenterConfig", "CenterLoss",
    "ClassScores", "Classifier", "ClusterConfig", "ClusterResult", "ClusterScores", "ConfigError", "DataError",
    "EmbedConfig", "EmbedResult", "Encoder", "EpochFinished", "Event", "ExportConfig", "ExportResult", "Face",
    "FaceclrError", "Fingerprint", "FingerprintError", "FoldAccuracy", "ForgetConfig", "ForgetResult", "Identified",
    "IdentifyConfig", "InfoConfig", "InfoResult", "InterruptedRunError", "LinearEvalConfig", "LinearEvalResult",
    "LockedError", "MapResult", "Matches", "ModelError", "NTXent", "NoFaceError", "Notice", "OpenSetResult",
    "OperatingPoint", "PairVerdict", "PairsResult", "PeopleIndex", "PhotoCropper", "PrepareConfig", "PreparePlan",
    "PrepareResult", "PretrainConfig", "QueueContrast", "Reporter", "Roc", "Selection", "Silent", "SplitConfig",
    "SplitResult", "StoppedError", "Store", "TaskAdvanced", "TaskFinished", "TaskStarted", "TerminatedRunError",
    "TooManyBadFilesError", "TrainResult", "TripletConfig", "TripletLoss", "TsneConfig", "UnreadableImageError",
    "VerifyConfig", "VerifyResult", "auc", "best_threshold", "calibrate", "class_scores", "cluster", "cluster_scores",
    "cosine_scores", "eer", "embed", "evaluate_identify", "every_pair", "export", "forget", "identify", "info",
    "k_fold_accuracy", "knn_accuracy", "linear_eval", "load_encoder", "prepare", "pretrain", "read_photo", "read_store",
    "roc", "split", "tar_at_far", "top_k_accuracy", "train_center", "train_triplet", "tsne", "verdicts", "verify",
    "write_people", "write_store",
]  # fmt: skip

_LIVES_IN = {
    "configs.calibrate": "CalibrateConfig",
    "configs.center": "CenterConfig",
    "configs.cluster": "ClusterConfig",
    "configs.embed": "EmbedConfig",
    "configs.export": "ExportConfig",
    "configs.forget": "ForgetConfig",
    "configs.identify": "IdentifyConfig",
    "configs.info": "InfoConfig",
    "configs.linear_eval": "LinearEvalConfig",
    "configs.prepare": "PrepareConfig",
    "configs.pretrain": "PretrainConfig",
    "configs.split": "SplitConfig",
    "configs.triplet": "TripletConfig",
    "configs.tsne": "TsneConfig",
    "configs.verify": "VerifyConfig",
    "datasets.prepare": "PreparePlan PrepareResult prepare=run",
    "datasets.split": "SplitResult split=run",
    "embeddings.embed": "EmbedResult embed=run",
    "embeddings.store": "Store read_store write_store",
    "encoders.base": "Encoder",
    "encoders.calibration": "Calibration",
    "encoders.export": "ExportResult export=run",
    "encoders.load": "load_encoder",
    "errors": (
        "ConfigError DataError FaceclrError FingerprintError InterruptedRunError LockedError ModelError "
        "NoFaceError StoppedError TerminatedRunError TooManyBadFilesError UnreadableImageError"
    ),
    "evaluation.all_pairs": "AllPairsResult",
    "evaluation.calibrate": "CalibrateResult calibrate=run",
    "evaluation.cluster": "cluster=run",
    "evaluation.clustered": "ClusterResult",
    "evaluation.identify": "Identified identify",
    "evaluation.linear_eval": "LinearEvalResult linear_eval=run",
    "evaluation.open_set": "OpenSetResult evaluate_identify=evaluate",
    "evaluation.pairs": "PairsResult",
    "evaluation.project": "MapResult tsne=run",
    "evaluation.verdicts": "PairVerdict verdicts",
    "evaluation.verify": "VerifyResult verify=run",
    "events": "EpochFinished Event Notice Reporter Silent TaskAdvanced TaskFinished TaskStarted",
    "faces.crop": "AlignedFace PhotoCropper",
    "faces.decode": "read_photo",
    "faces.detect": "Face Selection",
    "faces.drawn": "write_people",
    "faces.fingerprint": "Fingerprint",
    "losses.center": "CenterLoss",
    "losses.classifier": "Classifier",
    "losses.moco": "QueueContrast",
    "losses.nt_xent": "NTXent",
    "losses.triplet": "TripletLoss",
    "metrics.classification": "ClassScores class_scores top_k_accuracy",
    "metrics.clustering": "ClusterScores cluster_scores",
    "metrics.knn": "knn_accuracy",
    "metrics.search": "Matches PeopleIndex",
    "metrics.verification": (
        "FoldAccuracy OperatingPoint Roc auc best_threshold cosine_scores eer every_pair k_fold_accuracy roc tar_at_far"
    ),
    "training.run": "TrainResult pretrain=run train_center=run train_triplet=run",
    "upkeep.forget": "ForgetResult forget=run",
    "upkeep.info": "InfoResult info=run",
}
"""Modules below this package, and the names in them; `verify=run` is what is called `run` there."""

_PLACES = {
    name: (module, own_name or name)
    for module, names in _LIVES_IN.items()
    for name, _, own_name in (entry.partition("=") for entry in names.split())
}


def _load(name: str) -> object:
    """Imports what a name stands for, and keeps it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _PLACES[name]
    value = getattr(import_module(f"{__name__}.{module}"), own_name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # Seen by a type checker, it would vouch for any name, misspelt ones too.
    __getattr__ = _load
