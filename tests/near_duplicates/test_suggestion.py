"""Groups that files suggest: found where a beginning, folder or day is shared by a few, and nowhere else."""

import csv
import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sktl.near_duplicates import suggested_groups
from sktl.near_duplicates.suggestion import find_suggestion

PATIENTS = [(patient, view) for patient in range(1, 13) for view in range(1, 4)]
CLASSES = np.array([patient % 2 for patient, _ in PATIENTS])
BOTH = list(zip(PATIENTS, CLASSES, strict=True))
BY_PATIENT = [patient - 1 for patient, _ in PATIENTS]


def files(form):
    words = {1: "left", 2: "right", 3: "top"}
    return [form.format(p=patient, v=view, letter="?abc"[view], word=words[view]) for patient, view in PATIENTS]


FORMS = """
    p{p:03}_{v}.jpg
    p{p:03}-{v}.png
    p{p:03} ({v}).jpg
    p{p:03}.{v}.jpg
    {p}_{v}.tif
    {p:08}_{v:03}.png
    p{p:03}{letter}.jpg
    p{p:03}_{letter}.jpg
    p{p:03}_{word}.jpg
    p{p}_img{v}.jpg
    p{p}_IMG_{v:04}.jpg
    p{p}_DSC0{v:04}.JPG
    patient{p:05}_study1_view{v}_frontal.jpg
    video{p}_frame{v:05}.png
    site_{p}_{v}.jpg
    SOB_B_A-14-{p}CD-40-{v:03}.png
    {p:05}_{v:05}.ppm
    person{p}_bacteria_{v}.jpeg
    {p}_{word}.jpeg
    C{p}P1thinF_IMG_20150619_114756a_cell_{v}.png
    IMG_{p:04}_rot{v}.jpg
    IMG_202611{p:02}_12304{v}.jpg
    IMG-202611{p:02}-WA000{v}.jpg
    2026-11-{p:02} 12.30.4{v}.jpg
    """


@pytest.mark.parametrize("form", [form.strip() for form in FORMS.strip().splitlines()])
@pytest.mark.parametrize("folder", ["", "data/photos/"])
def test_names_with_a_beginning_that_few_files_share_are_groups(form, folder):
    found = find_suggestion([folder + file for file in files(form)], CLASSES)
    assert (found.by, found.groups.tolist()) == ("name", BY_PATIENT)
    assert "36 of 36 files share the beginning of their name" in found.words
    assert suggested_groups(files(form), CLASSES, by="name").tolist() == BY_PATIENT


def test_one_patient_in_two_folders_of_classes_is_one_group():
    paths = [f"{'ill' if view == 1 else 'well'}/p{patient:03}_{view}.jpg" for patient, view in PATIENTS]
    assert suggested_groups(paths, [view == 1 for _, view in PATIENTS]).tolist() == BY_PATIENT


def test_the_longer_beginning_is_taken_where_the_shorter_one_is_the_class():
    paths = [f"class{patient % 2}_p{patient}_{view}.jpg" for patient, view in PATIENTS]
    assert suggested_groups(paths, CLASSES).tolist() == BY_PATIENT


def test_images_beside_the_groups_are_alone():
    paths = [*files("p{p:03}_{v}.jpg"), "extra.jpg", "IMG_0001.jpg"]
    assert suggested_groups(paths, [*CLASSES, 0, 1]).tolist() == [*BY_PATIENT, 12, 13]


N = range(60)
SERIAL = [f"{number:x}" * 3 for number in np.random.default_rng(0).integers(2**20, 2**30, size=60)]
NO_GROUPS = {
    "a camera's counter": [f"IMG_{i:04}.jpg" for i in N],
    "another one's": [f"DSC{i:05}.JPG" for i in N],
    "counters of two cameras": [f"{('IMG', 'DSC')[i % 2]}_{i:04}.jpg" for i in N],
    "the class and a counter": [f"{('ant', 'bee')[i % 2]}_{i:03}.jpg" for i in N],
    "a numbered class and a counter": [f"class{i % 2}_{i:03}.jpg" for i in N],
    "the number of the class": [f"{i % 2}_{i:05}.png" for i in N],
    "kinds in words": [f"{('american_pit_bull', 'beagle', 'Abyssinian')[i % 3]}_{i}.jpg" for i in N],
    "plain numbers": [f"{i:06}.jpg" for i in N],
    "hashes": [f"{serial}.jpg" for serial in SERIAL],
    "hashes in parts": [f"{s[:8]}-{s[2:6]}-{s[3:7]}-{s[4:8]}-{s}.jpg" for s in SERIAL],
    "a hash and a disease": [
        f"{s[:8]}-{s[2:6]}-{s[3:7]}-{s[4:8]}-{s}___FREC_Scab {i}.JPG" for i, s in enumerate(SERIAL)
    ],
    "photo and secret": [f"{10**9 + 7919 * i}_{serial}.jpg" for i, serial in enumerate(SERIAL)],
    "kinds of ImageNet": [f"n0{2100000 + i % 14}_{i}.JPEG" for i in N],
    "single words": [f"{'abcdefghij'[i % 10]}{'klmnop'[i // 10]}.jpg" for i in N],
    "four sites": [f"site{i % 4}_{i:03}.jpg" for i in N],
    "few copies": [*(f"IMG_{i:04}.jpg" for i in range(50)), *(f"IMG_{i:04} (1).jpg" for i in range(10))],
    "a folder a class": [f"photos/{('ant', 'bee')[i % 2]}/{i}.jpg" for i in N],
    "parts": [f"{('train', 'val')[i % 3 // 2]}/{('ant', 'bee')[i % 2]}/{i}.jpg" for i in N],
}


@pytest.mark.parametrize("case", NO_GROUPS)
def test_names_that_tell_classes_or_count_all_images_are_no_groups(case):
    paths, y = NO_GROUPS[case], [i % 2 for i in N]
    assert suggested_groups(paths, y) is None
    for by in ("folder", "name", "date"):
        with pytest.raises(ValueError, match=f"Got '{by}' instead, which suggests none for these 60 images"):
            suggested_groups(paths, y, by=by)


@settings(max_examples=25, deadline=None)
@given(
    prefix=st.sampled_from(["IMG_", "DSC", "photo-", "", "x y ", "é"]),
    width=st.integers(1, 9),
    step=st.integers(1, 999),
    n_classes=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_no_counter_suggests_groups(prefix, width, step, n_classes, seed):
    y = np.random.default_rng(seed).integers(n_classes, size=50)
    assert suggested_groups([f"{prefix}{step * i:0{width}}.jpg" for i in range(50)], y) is None
    assert suggested_groups([f"{label}/{prefix}{step * i:0{width}}.jpg" for i, label in enumerate(y)], y) is None
    assert suggested_groups([f"{label}_{step * i:0{width}}.jpg" for i, label in enumerate(y)], y) is None


def test_folders_below_those_of_the_classes_are_groups():
    paths = [f"photos/{'ab'[label]}/nest{patient}/{view}.jpg" for (patient, view), label in BOTH]
    found = find_suggestion(paths, CLASSES)
    assert (found.by, found.groups.tolist()) == ("folder", BY_PATIENT)
    assert found.words == f"36 images lie in 12 folders such as {os.path.join('b', 'nest1')!r}"


def test_folders_of_patients_are_groups_and_so_are_those_above_their_studies():
    paths = [f"scans/patient{patient}/study{view}/{view}.jpg" for patient, view in PATIENTS]
    assert suggested_groups(paths, CLASSES).tolist() == BY_PATIENT
    assert suggested_groups(paths, np.arange(36) / 7, by="folder").tolist() == BY_PATIENT
    assert suggested_groups(paths, None).tolist() == BY_PATIENT


def test_classes_below_domains_are_no_groups_of_the_classes():
    paths = [
        f"{domain}/{label}/{i}.jpg" for domain, label, i in product(["photo", "sketch", "art"], "abcdefg", range(9))
    ]
    assert suggested_groups(paths, [Path(path).parts[1] for path in paths]) is None


@pytest.fixture
def dated(tmp_path):
    """A function that writes photos with dates and returns their paths."""

    def write(times, camera="X100"):
        for number, time in enumerate(times):
            exif = Image.Exif()
            exif[272] = camera if isinstance(camera, str) else camera[number % len(camera)]
            exif.get_ifd(0x8769)[36867] = time
            Image.new("RGB", (4, 4)).save(tmp_path / f"IMG_{number:04}.jpg", exif=exif)
        return [str(tmp_path / f"IMG_{number:04}.jpg") for number in range(len(times))]

    return write


def test_photos_of_one_day_are_groups(dated):
    paths = dated([f"2026:11:{patient:02} 1{view}:00:00" for patient, view in PATIENTS])
    found = find_suggestion(paths, CLASSES)
    assert (found.by, found.groups.tolist()) == ("date", BY_PATIENT)
    assert found.words == (
        "36 of 36 files were taken by one camera on the same day as others, 'IMG_0000.jpg' and 'IMG_0001.jpg' for "
        "instance"
    )


def test_photos_of_one_minute_are_groups_where_all_are_of_one_day(dated):
    paths = dated([f"2026:11:29 12:{patient:02}:0{view}" for patient, view in PATIENTS])
    found = find_suggestion(paths, CLASSES)
    assert (found.by, found.groups.tolist()) == ("date", BY_PATIENT)
    assert "in the same minute as others" in found.words


def test_two_cameras_at_one_time_took_different_things(dated):
    paths = dated([f"2026:11:{patient:02} 1{view}:00:00" for patient, view in PATIENTS], camera=["A", "B", "C"])
    assert suggested_groups(paths, CLASSES) is None


def test_one_day_for_each_class_is_no_group(dated):
    paths = dated([f"2026:11:{1 + label:02} 1{i % 10}:{i:02}:00" for i, label in enumerate(CLASSES)])
    assert suggested_groups(paths, CLASSES) is None


def test_dates_of_a_bounded_number_of_files_are_looked_at(monkeypatch):
    asked = []
    monkeypatch.setattr("sktl.near_duplicates.suggestion.taken_at", asked.append)
    assert find_suggestion([f"IMG_{i:05}.jpg" for i in range(10_000)], np.arange(10_000) % 2) is None
    assert len(asked) == len(set(asked)) == 400
    assert "IMG_00019.jpg" in asked  # neighbours, which bursts are


@pytest.mark.parametrize("X", [np.zeros((20, 8, 8)), [Image.new("L", (4, 4))] * 20, [b"x"] * 20, [], ["a.jpg"]])
def test_what_has_no_names_suggests_nothing(X):
    assert suggested_groups(X, np.arange(len(X)) % 2) is None


def test_tables_of_paths_are_taken():
    pandas = pytest.importorskip("pandas")
    paths = files("p{p:03}_{v}.jpg")
    for X in (pandas.Series(paths), pandas.DataFrame({"path": paths}), np.array(paths), [Path(path) for path in paths]):
        assert suggested_groups(X, CLASSES).tolist() == BY_PATIENT


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        suggested_groups(["a.jpg", "b.jpg"], [0])


SETS = ("bccd_counts", "caltech15", "cifar10_test1k", "clothing10", "hymenoptera", "pacs", "rsscn7")


@pytest.mark.parametrize("name", SETS)
def test_real_sets_without_groups_suggest_none(name, shared_data):
    root = shared_data / "datasets" / name
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    targets = {column for column in rows[0] if column in ("class", "label") or column.startswith("n_")}
    for paths in ([str(root / row["file"]) for row in rows], [row["source_path"] for row in rows]):
        for column in targets:
            y = [row[column] for row in rows]
            assert suggested_groups(paths, [int(number) for number in y] if column.startswith("n_") else y) is None
    if name == "pacs":  # folders of drawings of one thing lie below those of the domains
        found = find_suggestion([str(root / row["file"]) for row in rows], [row["domain"] for row in rows])
        assert (found.by, found.groups.max() + 1) == ("folder", 21)
