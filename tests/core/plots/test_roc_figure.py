from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.plots.curves import Band, DiscardCurves, RocCurve
from faceclr_cli.core.plots.roc_figure import PairScores, compose_roc, draw_verification


def measured(genuine: np.ndarray, impostor: np.ndarray) -> tuple[RocCurve, PairScores]:
    scores = np.concatenate([genuine, impostor])
    same = np.repeat([True, False], [len(genuine), len(impostor)])
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    points = tuple((rate, float(tar[far <= rate].max())) for rate in (0.1, 0.01, 0.001))
    curve = RocCurve(far=far, tar=tar, auc=float(roc_auc_score(same, scores)), eer=0.05, points=points)
    return curve, PairScores(genuine=genuine, impostor=impostor, threshold=0.3)


def example(pairs: int) -> tuple[RocCurve, PairScores]:
    rng = np.random.default_rng(0)
    return measured(rng.normal(0.55, 0.15, pairs), rng.normal(0.05, 0.12, pairs))


def words(curve: RocCurve, scores: PairScores, folder: Path, title: str = "sface on LFW") -> list[str]:
    """Returns the texts in the picture, in drawing order; SVG keeps each text as a comment."""
    target = folder / "words.svg"
    draw_verification(target, curve, scores, title)
    return re.findall(r"<!-- (.*?) -->", target.read_text())


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, suffix: str, start: bytes) -> None:
    for name in "ab":
        draw_verification(tmp_path / f"{name}.{suffix}", *example(50), "sface on LFW")
    first = (tmp_path / f"a.{suffix}").read_bytes()
    assert first == (tmp_path / f"b.{suffix}").read_bytes()
    assert first.startswith(start)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_format_that_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    for name in ("roc.bmp", "roc"):
        with pytest.raises(ConfigError, match=r"use \.jpg, \.png, \.webp, \.pdf or \.svg"):
            draw_verification(tmp_path / name, *example(10), "title")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_fails_halfway_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(figure: Figure, path: Path, **others: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "roc.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(DataError, match=r"roc\.png: cannot be written \(No space left on device\)"):
        draw_verification(tmp_path / "roc.png", *example(10), "title")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"roc.png": b"old"}


def test_the_curve_goes_from_a_single_impostor_pair_to_all_of_them() -> None:
    curve, scores = example(500)
    axes = compose_roc(curve, scores, "title").axes[0]
    line = axes.lines[0]
    far, tar = line.get_data()
    assert axes.get_xscale() == "log"
    assert (far[0], far[-1], tar[-1]) == (1 / 500, 1, 1)
    assert tar[0] == curve.tar[curve.far <= 1 / 500 + 1e-12].max()
    assert line.get_drawstyle() == "steps-post"
    # All of it, and its lowest point, can be seen.
    assert axes.get_xlim()[0] < far[0]
    assert axes.get_ylim()[0] < tar[0]


def test_points_are_marked_where_the_pairs_can_measure_them(tmp_path: Path) -> None:
    curve, scores = example(500)
    axes = compose_roc(curve, scores, "title").axes[0]
    np.testing.assert_array_equal(np.transpose(axes.lines[1].get_data()), curve.points[:2])
    assert [text.get_text() for text in axes.texts] == [f"{tar:.3f}" for _, tar in curve.points[:2]]
    written = words(curve, scores, tmp_path)
    assert "TAR at FAR 0.1, 0.01" in written
    assert f"AUC {curve.auc:.4f}  ·  EER 5.0%  ·  500 genuine and 500 impostor pairs" in written
    assert "95% band" not in written


def test_the_band_is_shaded_between_its_bounds(tmp_path: Path) -> None:
    curve, scores = example(500)
    far = np.array([1e-9, 0.002, 0.01, 0.1, 1.0])
    banded = replace(curve, band=Band(far=far, low=np.linspace(0.5, 0.98, 5), high=np.linspace(0.8, 1, 5)))
    axes = compose_roc(banded, scores, "title").axes[0]
    corners = axes.collections[0].get_paths()[0].vertices
    # What lies below one impostor pair is not shown.
    assert (corners[:, 0].min(), corners[:, 0].max()) == (0.002, 1)
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((0.62, 1))
    assert axes.get_ylim()[0] <= 0.62
    assert "95% band" in words(banded, scores, tmp_path)


def test_histograms_share_bins_and_have_area_one() -> None:
    curve, scores = example(500)
    axes = compose_roc(curve, scores, "title").axes[1]
    impostor, genuine = (patch for patch in axes.patches if patch.get_fill())
    edges = genuine.get_data().edges
    np.testing.assert_array_equal(edges, impostor.get_data().edges)
    for patch, values in ((impostor, scores.impostor), (genuine, scores.genuine)):
        counts = patch.get_data().values * np.diff(edges) * len(values)
        assert counts.sum() == pytest.approx(len(values))
        assert counts[:10].sum() == pytest.approx((values < edges[10]).sum())
    assert to_hex(impostor.get_facecolor()) != to_hex(genuine.get_facecolor())
    assert list(axes.lines[0].get_xdata()) == [0.3, 0.3]


def test_the_det_curve_has_the_rates_of_scikit_learn_on_normal_deviate_axes() -> None:
    curve, scores = example(400)
    axes = compose_roc(curve, scores, "title").axes[2]
    values = np.concatenate([scores.genuine, scores.impostor])
    fmr, tpr, _ = roc_curve(np.repeat([True, False], 400), values, drop_intermediate=False)
    fnmr = 1 - tpr
    drawn = np.transpose(axes.lines[0].get_data())
    inside = (fmr > 0) & (fnmr > 0)
    expected = np.transpose([norm.ppf(fmr[inside]), norm.ppf(fnmr[inside])])
    assert len(expected) > 100
    for point in expected:
        assert np.abs(drawn - point).max(axis=1).min() < 1e-6
    labels = dict(zip((text.get_text() for text in axes.get_xticklabels()), axes.get_xticks(), strict=True))
    assert labels["0.01"] == pytest.approx(norm.ppf(0.01))
    # One pair of each kind is still visible.
    assert axes.get_xlim()[0] < norm.ppf(1 / 400) and axes.get_ylim()[0] < norm.ppf(1 / 400)


def test_discarded_pictures_are_drawn_for_each_measure() -> None:
    curve, scores = example(50)
    shares = np.array([0, 0.2, 0.4, 0.8])
    curves = {"norm": (shares, np.array([0.1, 0.05, 0, 0])), "eye_distance": (shares, shares)}
    discards = DiscardCurves(far=1e-2, curves=curves)
    axes = compose_roc(curve, scores, "title", discards).axes[3]
    np.testing.assert_array_equal(np.transpose(axes.lines[0].get_data()), [(0, 0.1), (0.2, 0.05), (0.4, 0)])
    assert axes.get_ylabel() == "FNMR at FMR 0.01"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["norm", "eye distance"]
    [note] = compose_roc(curve, scores, "title").axes[3].texts
    assert "embed --quality" in note.get_text()


def test_no_threshold_is_drawn_where_none_was_chosen(tmp_path: Path) -> None:
    curve, scores = example(20)
    assert "threshold 0.300" in words(curve, scores, tmp_path)
    bare = replace(scores, threshold=None)
    assert not compose_roc(curve, bare, "title").axes[1].lines
    assert not any(word.startswith("threshold") for word in words(curve, bare, tmp_path))


@pytest.mark.parametrize(
    ("genuine", "impostor"),
    [
        (np.array([0.9]), np.array([0.1])),
        (np.full(10, 0.4), np.full(10, 0.4)),
        (np.linspace(0.8, 0.9, 300), np.linspace(-0.1, 0.2, 300)),
        (np.linspace(-0.2, 0.3, 40), np.linspace(0.1, 0.6, 40)),
        (np.linspace(0.2, 0.9, 50), np.linspace(-0.3, 0.4, 200_000)),
    ],
    ids=["one pair of each", "one score", "far apart", "worse than chance", "many impostors"],
)
def test_any_scores_make_a_picture(tmp_path: Path, recwarn: pytest.WarningsRecorder, genuine, impostor) -> None:
    curve, scores = measured(genuine, impostor)
    draw_verification(tmp_path / "roc.png", curve, scores, "title")
    assert cv2.imread(str(tmp_path / "roc.png")).std() > 10
    figure = compose_roc(curve, scores, "title")
    for axes in figure.axes:
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
        assert 2 <= sum(axes.get_xlim()[0] <= tick <= axes.get_xlim()[1] for tick in axes.get_xticks()) <= 12
    assert not recwarn.list


def test_no_two_texts_overlap() -> None:
    curve, scores = example(1000)
    figure = compose_roc(curve, scores, "sface on 2,000 pairs")
    figure.canvas.draw()
    texts = [*figure.texts]
    for axes in figure.axes:
        legend = axes.get_legend()
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label, *(legend.get_texts() if legend else ())]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            # Labels beyond the axis exist, but are not drawn.
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    shown = [text for text in texts if text.get_text()]
    assert min(text.get_size() for text in shown) >= 8
    boxes = [text.get_window_extent() for text in shown]
    for number, box in enumerate(boxes):
        assert figure.bbox.containsx(box.x0)
        assert figure.bbox.containsx(box.x1)
        assert not [shown[other].get_text() for other in range(number) if box.overlaps(boxes[other])]


def test_a_title_may_hold_anything(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    written = words(*example(20), tmp_path, "$x^2\n李雷 " + "n" * 300)
    assert any(word.startswith("$x^2\\n\\u674e\\u96f7 n") and "…" in word for word in written)
    assert not recwarn.list


def test_arrays_that_do_not_go_together_are_refused() -> None:
    curve, scores = example(20)
    with pytest.raises(ValueError, match="cannot be drawn"):
        compose_roc(replace(curve, tar=curve.tar[1:]), scores, "title")
    with pytest.raises(ValueError, match=r"impostor pairs of \(0,\)"):
        compose_roc(curve, replace(scores, impostor=np.empty(0)), "title")
