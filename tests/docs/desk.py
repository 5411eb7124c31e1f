"""A small example of each artifact, of drawn people, under the names in docs/artifacts.md."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from faceclr_cli.core.configs.calibrate import CalibrateConfig
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.splitting.split import split
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.evaluation.calibration.calibrate import calibrate
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.probing.linear_eval import linear_eval
from faceclr_cli.core.evaluation.verification.pairs_protocol import measure_pairs
from faceclr_cli.core.events import Silent
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.training.trainers import train
from tests.core.encoders.toy_graph import write_toy

SMALL = {
    "backbone": "test_convnext", "image_size": 32, "embedding_dim": 16, "batch_size": 12, "epochs": 1,
    "precision": "32",
}  # fmt: skip


def make_desk() -> None:
    """Makes them in the working directory."""
    make_faces()
    make_runs()
    make_results()


def make_faces() -> None:
    photos = Path("photos")
    write_people(photos, people=36, photos=5, seed=0, reporter=Silent())
    (photos / "person-01").rename(photos / "ann_lee")
    one, other = (cv2.imread(str(photos / "ann_lee" / f"0{number}.jpg")) for number in (1, 2))
    rows = min(len(one), len(other))
    cv2.imwrite(str(photos / "ann_lee" / "party.png"), np.hstack([one[:rows], other[:rows]]))
    (photos / "ann_lee" / "notes.jpg").write_text("notes")
    for who in range(2, 12):
        (photos / f"person-{who:02d}" / "again.jpg").write_bytes((photos / "ann_lee" / "01.jpg").read_bytes())
    prepare(PrepareConfig(source=photos, out=Path("faces"), face="all", workers=1), Silent())
    split(SplitConfig(faces=Path("faces"), out=Path("splits"), train=0.3, val=0.6, test=0.1), Silent())


def make_runs() -> None:
    data, lfw = (Path("splits/train"),), {"lfw": Path("splits/test"), "pairs": Path("splits/pairs.csv")}
    train(PretrainConfig(data=data, out=Path("run"), **SMALL), Silent())
    listed = {"mining": "random", "triplets": Path("triplets.npy")}
    train(TripletConfig(data=data, out=Path("run-t"), **listed, **lfw, **SMALL), Silent())
    train(CenterConfig(data=data, out=Path("run-c"), hold_out=0.2, **lfw, **SMALL), Silent())
    write_toy(Path("run/encoder/encoder.onnx"))


def make_results() -> None:
    store, faces = Path("faces.h5"), Path("faces")
    embed(EmbedConfig(faces=faces, model="run", out=store, quality="full"), Silent())
    test = Path("splits/test")
    embed(EmbedConfig(faces=test, model="run", out=Path("parts.h5"), keep_parts=True, half=True), Silent())
    for form in ("jsonl", "csv", "npz", "parquet"):
        embed(EmbedConfig(faces=test, model="run", out=Path(f"test.{form}")), Silent())
    calibrate(
        CalibrateConfig(model="run", embeddings=store, all_pairs=True, rounds=100, out=Path("thresholds.json")),
        Silent(),
    )
    linear_eval(LinearEvalConfig(stores=(store,), save=Path("known"), rounds=100), Silent())
    cluster(ClusterConfig(source=store, faces=faces, out=Path("groups"), threshold=0.0), Silent())
    pairs = Path("splits/pairs.csv")
    measure_pairs(VerifyConfig(embeddings=store, pairs=pairs, results=Path("scores.jsonl")), Silent())
