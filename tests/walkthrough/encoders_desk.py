"""The files that the pages on encoders name: sets of pairs, runs, and an encoder of another project."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2

from faceclr_cli.core import BenchmarkConfig, EmbedConfig, PretrainConfig, Silent, embed, pretrain
from faceclr_cli.core.drawn.person import invent_person
from faceclr_cli.core.drawn.portraits import draw_photo
from faceclr_cli.core.evaluation.benchmark.bin_export import write_benchmark_bin
from tests.core.evaluation.importing.foreign_files import untrained, write_model

_PEOPLE, _TEMPLATES, _PICTURES = 8, 4, 2


def set_up_encoders(desk: Path) -> None:
    """Adds these files to a folder in which the guide has been typed."""
    shutil.copy(desk / "pairs.txt", desk / "lfw")
    write_benchmark_bin(BenchmarkConfig(sets=(desk / "celeba-splits",), write_bin=desk / "lfw.bin"), Silent())
    (desk / "benchmarks").mkdir()
    for name in ("cfp_fp.bin", "agedb_30.bin", "benchmarks/lfw.bin"):
        shutil.copy(desk / "lfw.bin", desk / name)
    if not (desk / "test.h5").exists():
        embed(EmbedConfig(faces=desk / "celeba-splits" / "test", out=desk / "test.h5"), Silent())
    _runs(desk)
    _ijb(desk / "IJBC")
    write_model(desk / "w600k_mbf.onnx", untrained())


def _runs(desk: Path) -> None:
    """Three runs that differ in their seeds, under all the names that the page uses."""
    small = PretrainConfig(
        data=(desk / "celeba-splits" / "train",),
        backbone="test_resnet",
        image_size=32,
        embedding_dim=16,
        epochs=1,
        batch_size=16,
        precision="32",
    )
    for seed in (1, 2, 3):
        out = desk / f"run-{seed}"
        if not out.exists():
            pretrain(replace(small, out=out, seed=seed), Silent())
        for name in (f"resnet18-{seed}", f"mobilenet-{seed}", f"pretrain-{seed}"):
            if not (desk / "runs" / name).exists():
                shutil.copytree(out, desk / "runs" / name)


def _ijb(root: Path) -> None:
    """The layout of IJB-C: the pictures, their landmarks, and the lists of templates, pairs, gallery and probes."""
    (root / "loose_crop").mkdir(parents=True)
    (root / "meta").mkdir()
    landmarks, pictures, who = [], [], {}
    for template in range(1, _PEOPLE * _TEMPLATES + 1):
        who[template] = (template - 1) % _PEOPLE
        for number in range(_PICTURES):
            name = f"{len(pictures) + 1}.jpg"
            drawn = draw_photo(invent_person(who[template]), template * _PICTURES + number)
            cv2.imwrite(str(root / "loose_crop" / name), drawn.image[..., ::-1])
            points = " ".join(f"{value:.2f}" for value in drawn.landmarks.ravel())
            landmarks.append(f"{name} {points} 0.99")
            pictures.append(f"{name} {template} {template}")
    columns = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID"
    lists = {
        "name_5pts_score.txt": landmarks,
        "face_tid_mid.txt": pictures,
        "template_pair_label.txt": [f"{a} {b} {int(who[a] == who[b])}" for a, b in combinations(who, 2)],
        "1N_gallery_G1.csv": [columns, *(f"{t},{who[t]},{t}.jpg,{t}" for t in who if t <= _PEOPLE // 2)],
        "1N_probe_mixed.csv": [columns, *(f"{t},{who[t]},{t}.jpg,{t}" for t in who if t > _PEOPLE)],
    }
    for name, lines in lists.items():
        (root / "meta" / f"ijbc_{name}").write_text("\n".join(lines) + "\n")
