from __future__ import annotations

import csv
import json
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs.pair_files import Pair, read_pairs
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.crop_source import Source
from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError
from faceclr_cli.core.evaluation.verification import photographs as pictures_module
from faceclr_cli.core.evaluation.verification.pair_verdicts import PairVerdict, verdicts
from faceclr_cli.core.evaluation.verification.photographs import open_photo_reader, similarity_of, walk_pairs
from faceclr_cli.core.evaluation.verification.verify import verify as run
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.detect import Selection

NAMES = [f"person-{person:02d}/{picture}.jpg" for person in range(1, 6) for picture in ("01", "02")]
LINE_BY_LINE = [(NAMES[0], NAMES[1]), (NAMES[0], NAMES[2]), (NAMES[3], NAMES[2])]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five people with two photographs each, and files without a face; a photograph of a person outside the folder."""
    root = tmp_path_factory.mktemp("verdicts") / "photos"
    write_people(root, people=5, photos=2, seed=5, reporter=Silent())
    cv2.imwrite(str(root / "nobody.png"), np.full((200, 200, 3), 90, np.uint8))
    (root / "text.jpg").write_text("no picture")
    (root.parent / "outside.jpg").write_bytes((root / NAMES[0]).read_bytes())
    return root


def _listed(tmp_path: Path, pairs: list[tuple[str, str]]) -> Path:
    file = tmp_path / "pairs.csv"
    with open(file, "w", newline="") as content:
        csv.writer(content).writerows(pairs)
    return file


def _every_pair(count: int) -> list[tuple[str, str]]:
    """Returns more pairs than are read ahead, with each photograph in many of them."""
    rng = np.random.default_rng(0)
    return [(NAMES[a], NAMES[b]) for a, b in rng.integers(0, len(NAMES), (count, 2))]


def _verdicts(root: Path, pairs: Path, model: str = "pixels", **options) -> list[PairVerdict]:
    config = VerifyConfig(pairs=pairs, root=root, model=model, threshold=0.5, **options)
    return list(verdicts(config, Silent()))


def _typed(*arguments: object, given: str | None = None) -> Result:
    line = ["verify", "--model", "pixels", "--threshold", "0.5", *map(str, arguments)]
    return CliRunner().invoke(app, line, input=given)


def test_verdicts_are_those_of_the_pairs_in_their_order(root: Path, tmp_path: Path) -> None:
    encoder = PixelsEncoder()
    cropper = PhotoCropper(encoder.fingerprint, Selection())
    own = {name: encoder.embed(cropper.crop_file(root / name).crop[None])[0] for name in NAMES}
    pairs = _every_pair(150)
    given = _verdicts(root, _listed(tmp_path, pairs))
    assert [(verdict.a, verdict.b) for verdict in given] == pairs
    for verdict in given:
        assert verdict.similarity == pytest.approx(float(own[verdict.a] @ own[verdict.b]), abs=1e-6)
        assert verdict.same == (verdict.similarity >= 0.5)
        assert (verdict.reason, verdict.probability) == (None, None)


def test_a_photograph_of_many_pairs_is_read_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()
    read = Source.read

    def counted(source: Source, photo, *more):
        reads[photo.name] += 1
        return read(source, photo, *more)

    monkeypatch.setattr(Source, "read", counted)
    # Failures, too, are remembered.
    pairs = [*_every_pair(150), ("text.jpg", NAMES[0]), *_every_pair(150), ("text.jpg", NAMES[1])]
    assert len(_verdicts(root, _listed(tmp_path, pairs))) == 302
    assert reads == dict.fromkeys([*NAMES, "text.jpg"], 1)


def test_the_same_file_gives_the_same_bits_again(root: Path, tmp_path: Path) -> None:
    pairs = _listed(tmp_path, [*_every_pair(40), ("gone.jpg", NAMES[0]), *_every_pair(40)])
    once, again = (_verdicts(root, pairs, model="sface") for _ in range(2))
    assert once == again
    assert len({verdict.similarity for verdict in once}) > 20


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.jpg", r"photos/gone\.jpg: .*no such file"),
        ("text.jpg", r"photos/text\.jpg: not a picture"),
        ("nobody.png", r"photos/nobody\.png: no face found"),
        ("../outside.jpg", r"^\.\./outside\.jpg: leads out of .*photos$"),
        ("person-01/../../outside.jpg", r"leads out of .*photos$"),
        ("{root}/person-01/01.jpg", r"person-01/01\.jpg: leads out of .*photos$"),
        ("person-01", r"photos/person-01: .*(not a regular file|folder|directory)"),
        ("no\0such.jpg", r"no\\x00such\.jpg"),
    ],
)
def test_a_bad_picture_is_a_row_with_its_reason_and_the_others_go_on(
    name: str, reason: str, root: Path, tmp_path: Path
) -> None:
    name = name.format(root=root)
    pairs = _listed(tmp_path, [LINE_BY_LINE[0], (NAMES[0], name), (name, NAMES[0]), LINE_BY_LINE[1]])
    first, *bad, last = _verdicts(root, pairs)
    for verdict in bad:
        assert (verdict.similarity, verdict.same, verdict.probability) == (None, None, None)
        assert verdict.reason is not None and "\n" not in verdict.reason
        assert re.search(reason, verdict.reason), verdict.reason
    assert first.same is not None and last.same is not None


def test_crops_are_saved_below_their_folder_whatever_the_pictures_are_called(root: Path, tmp_path: Path) -> None:
    pairs = _listed(tmp_path, [(NAMES[0], NAMES[1]), (str(root / NAMES[2]), f"{root}/../outside.jpg")])
    config = VerifyConfig(pairs=pairs, model="pixels", threshold=0.5, root=None, save_crops=tmp_path / "crops")
    assert {verdict.reason is None for verdict in list(verdicts(config, Silent()))[1:]} == {True}
    written = list(tmp_path.rglob("*.png"))
    assert len(written) == 2
    assert all(path.is_relative_to(tmp_path / "crops") for path in written)


def test_crops_are_never_saved_among_the_photographs(root: Path, tmp_path: Path) -> None:
    pairs = _listed(tmp_path, LINE_BY_LINE)
    for crops in (root, root / "crops"):
        config = VerifyConfig(pairs=pairs, model="pixels", threshold=0.5, root=root, save_crops=crops)
        with pytest.raises(ConfigError, match="where the next run would read it"):
            list(verdicts(config, Silent()))
    assert not (root / "crops").exists()


def test_a_malformed_line_comes_after_the_verdicts_on_those_before_it(root: Path, tmp_path: Path) -> None:
    lines = [f"{a},{b}\n" for a, b in LINE_BY_LINE]
    text = "".join([*lines[:2], "only one\n", lines[2]])
    (tmp_path / "pairs.csv").write_text(text)
    for pairs, given, origin in ((tmp_path / "pairs.csv", None, "pairs.csv"), ("-", text, "standard input")):
        done = _typed("--pairs", pairs, "--root", root, "--json", given=given)
        assert done.exit_code == 3
        assert [json.loads(line)["b"] for line in done.stdout.splitlines()] == [NAMES[1], NAMES[2]]
        assert f"{origin}:3: expected 'a,b'" in done.stderr


def test_a_file_without_pairs_or_a_folder_that_is_not_there(root: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("a,b\n")
    done = _typed("--pairs", tmp_path / "pairs.csv", "--root", root)
    assert (done.exit_code, done.stdout) == (3, "")
    assert "contains no pairs" in done.stderr
    for folder in ("nowhere", "text.jpg"):
        with pytest.raises(DataError, match=f"{folder}: no(t a| such) folder"):
            _verdicts(root / folder, tmp_path / "pairs.csv")
    with pytest.raises(ConfigError, match="no calibrated threshold"):
        list(verdicts(VerifyConfig(pairs=tmp_path / "pairs.csv", root=root, model="pixels"), Silent()))


def test_many_verdicts_are_not_a_single_result(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"use verdicts\(\) for many pairs"):
        run(VerifyConfig(pairs=_listed(tmp_path, LINE_BY_LINE), root=root), Silent())


def test_rows_of_csv_can_be_read_again_as_pairs(root: Path, tmp_path: Path) -> None:
    pairs = [*LINE_BY_LINE, ('comma, and "quotes".jpg', NAMES[0])]
    done = _typed("--pairs", _listed(tmp_path, pairs), "--root", root)
    assert done.exit_code == 0, done.output
    heading, *rows = csv.reader(done.stdout.splitlines())
    assert heading == ["a", "b", "similarity", "same", "reason"]
    assert [(row[0], row[1]) for row in rows] == pairs
    assert [row[2] != "" for row in rows] == [row[4] == "" for row in rows] == [True, True, True, False]
    with open(tmp_path / "again.csv", "w", newline="") as file:
        csv.writer(file).writerows([row[0], row[1], row[3]] for row in [heading, *rows])
    judged = read_pairs(tmp_path / "again.csv")
    assert [pair.same for pair in judged] == [float(row[2]) >= 0.5 for row in rows[:3]] + [None]


def test_quiet_leaves_the_exit_code_and_json_its_lines(root: Path, tmp_path: Path) -> None:
    bad = _listed(tmp_path, [LINE_BY_LINE[0], ("gone.jpg", NAMES[0]), ("text.jpg", NAMES[1])])
    done = _typed("--pairs", bad, "--root", root, "--quiet")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "error: 2 of 3 pairs could not be compared, more than --max-bad 0.5\n"
    assert _typed("--pairs", bad, "--root", root, "--quiet", "--max-bad", "0.67").exit_code == 0
    done = _typed("--pairs", bad, "--root", root, "--quiet", "--json", "--max-bad", "1")
    assert (done.exit_code, len(done.stdout.splitlines()), done.stderr) == (0, 3, "")


def test_faces_prepared_in_another_way_are_refused(root: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["prepare", str(root), "-o", str(tmp_path / "faces"), "--size", "64"]).exit_code == 0
    with pytest.raises(FingerprintError, match="size"):
        _verdicts(tmp_path / "faces", _listed(tmp_path, LINE_BY_LINE))


# Standard input that stays open, between real processes.

_HANGING = 600  # Seconds. Less than the limit of a test, and more than a busy machine needs.


@contextmanager
def _listening(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Starts `faceclr verify` like a program that writes pairs and reads verdicts."""
    # A background job may have inherited an ignored SIGINT.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    start += "from faceclr_cli.__main__ import main; main()"
    options = ["--pairs", "-", "--root", str(root), "--quiet", "--json"]
    command = [sys.executable, "-c", start, "verify", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


def _ask(process: subprocess.Popen[str], pair: tuple[str, str]) -> None:
    assert process.stdin is not None
    process.stdin.write(",".join(pair) + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> dict:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], _HANGING)[0], "no verdict came"
    return json.loads(process.stdout.readline())


def test_another_program_gets_each_verdict_before_it_writes_the_next_pair(root: Path) -> None:
    with _listening(root) as process:
        for pair in [*LINE_BY_LINE, ("gone.jpg", NAMES[0]), LINE_BY_LINE[0]]:
            _ask(process, pair)
            verdict = _hear(process)
            assert (verdict["a"], verdict["b"]) == pair
        assert process.communicate(timeout=_HANGING) == ("", "")
        assert process.returncode == 0


def test_a_reader_that_has_seen_enough_ends_it_quietly_while_pairs_may_still_come(root: Path) -> None:
    with _listening(root) as process:
        _ask(process, LINE_BY_LINE[0])
        _hear(process)
        process.stdout.close()
        _ask(process, LINE_BY_LINE[1])
        assert process.wait(timeout=_HANGING) == 128 + signal.SIGPIPE
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("sent", "exit_code", "message"),
    [(signal.SIGINT, 130, "error: interrupted\n"), (signal.SIGTERM, 143, "error: terminated\n")],
)
def test_a_signal_ends_it_while_it_waits_for_a_pair(
    sent: signal.Signals, exit_code: int, message: str, root: Path
) -> None:
    with _listening(root) as process:
        _ask(process, LINE_BY_LINE[0])
        _hear(process)
        process.send_signal(sent)
        assert process.wait(timeout=_HANGING) == exit_code
        assert process.stderr.read() == message


def test_a_picture_that_was_replaced_is_read_again(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((root / NAMES[0]).read_bytes())
    (tmp_path / "b.jpg").write_bytes((root / NAMES[2]).read_bytes())
    with _listening(tmp_path) as process:
        _ask(process, ("a.jpg", "b.jpg"))
        assert _hear(process)["similarity"] < 0.99
        (tmp_path / "b.jpg").write_bytes((root / NAMES[0]).read_bytes())
        _ask(process, ("a.jpg", "b.jpg"))
        verdict = _hear(process)
        assert verdict["similarity"] == pytest.approx(1, abs=1e-6)
        assert "is the same file as" in verdict["notes"][0]


def test_pictures_of_pairs_that_never_end_are_not_kept_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "_KEPT", 3)
    with open_photo_reader(PixelsEncoder(), "pixels", root, "largest", Silent(), patient=False) as pictures:
        pairs = [Pair(a, b, None) for a, b in _every_pair(40)]
        found = [similarity_of(a, b) for _, a, b in walk_pairs(pairs[:1], pictures)]
        for pair in pairs[1:]:
            found += [similarity_of(a, b) for _, a, b in walk_pairs([pair], pictures)]
        assert len(pictures.content_hashes) <= 3
    with open_photo_reader(PixelsEncoder(), "pixels", root, "largest", Silent()) as pictures:
        assert found == pytest.approx([similarity_of(a, b) for _, a, b in walk_pairs(pairs, pictures)], abs=1e-6)
        assert len(pictures.content_hashes) == len(NAMES)


def test_pictures_are_found_in_any_unicode_form_with_backslashes_and_another_suffix(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "Jose\u0301"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES[:2], start=1):
        (folder / f"Jose\u0301_000{number}.png").write_bytes((root / name).read_bytes())
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("José/José_0001.png,José\\José_0002.png\nJosé/José_0001.jpg,José/José_0002.png\n")
    first, second = _verdicts(tmp_path / "in", pairs)
    assert first.similarity is not None
    assert first.similarity == second.similarity
    assert first.b == "José\\José_0002.png"
