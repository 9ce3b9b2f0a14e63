"""Where images come from besides lists of paths: tables, files in files, data sets, and what is made on access."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image
from sklearn.model_selection import KFold, train_test_split
from sklearn.utils import _safe_indexing
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from sktl.exceptions import ImageReadError
from sktl.images import ImageCollection, as_images, read_image, read_once, take_rows

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
N = len(PIXELS)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


FILES = [png(pixels) for pixels in PIXELS]
RECORDS = [{"bytes": content, "path": None} for content in FILES]
TENSORS = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).copy())


class OnAccess(Dataset):
    """A data set, of torch or not, that makes its items when it is asked for them."""

    def __init__(self, make, n=N):
        self.make, self.n, self.asked = make, n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError
        self.asked.append(i)
        return self.make(i)


@pytest.fixture
def paths(tmp_path):
    paths = [str(tmp_path / f"ü{i}.png") for i in range(N)]
    for path, content in zip(paths, FILES, strict=True):
        Path(path).write_bytes(content)
    return paths


def zipped(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i, content in enumerate(FILES):
            archive.writestr(f"{i}.png", content)
    archive = zipfile.ZipFile(tmp_path / "a.zip")
    return [archive.open(f"{i}.png") for i in range(N)]


def written(content):
    """A buffer as it stands after it was written to: at its end."""
    buffer = io.BytesIO()
    buffer.write(content)
    return buffer


def spooled(content):
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(content)
    return file


def hdf5(tmp_path, kind, paths):
    h5py = pytest.importorskip("h5py")
    file = h5py.File(tmp_path / "a.h5", "w")
    if kind == "pixels":
        return file.create_dataset("x", data=PIXELS)
    dtype = h5py.string_dtype() if kind == "paths" else h5py.vlen_dtype(np.uint8)
    found = file.create_dataset("x", (N,), dtype=dtype)
    for i in range(N):
        found[i] = paths[i] if kind == "paths" else np.frombuffer(FILES[i], np.uint8)
    return found


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:The data type")
def zarray(kind, paths):
    zarr = pytest.importorskip("zarr", minversion="3")
    if kind == "pixels":
        found = zarr.create_array(store={}, shape=PIXELS.shape, chunks=(1, *PIXELS.shape[1:]), dtype="uint8")
        found[:] = PIXELS
        return found
    found = zarr.create_array(store={}, shape=(N,), dtype="str" if kind == "paths" else "variable_length_bytes")
    found[:] = np.array(paths if kind == "paths" else FILES, dtype=object)
    return found


SOURCES = {
    "BytesIO": lambda tmp, paths: [io.BytesIO(content) for content in FILES],
    "BytesIO after writing": lambda tmp, paths: [written(content) for content in FILES],
    "open files": lambda tmp, paths: [Path(path).open("rb") for path in paths],  # noqa: SIM115
    "spooled files": lambda tmp, paths: [spooled(content) for content in FILES],
    "files in a zip": lambda tmp, paths: zipped(tmp),
    "records": lambda tmp, paths: RECORDS,
    "records of paths": lambda tmp, paths: [{"path": path, "bytes": None} for path in paths],
    "records of paths alone": lambda tmp, paths: [{"path": path} for path in paths],
    "Series of records": lambda tmp, paths: pd.Series(RECORDS),
    "frame of records": lambda tmp, paths: pd.DataFrame({"image": RECORDS}),
    "polars column of records": lambda tmp, paths: pl.Series(RECORDS),
    "polars frame of records": lambda tmp, paths: pl.DataFrame({"image": RECORDS}),
    "Arrow in pandas": lambda tmp, paths: pd.Series(FILES, dtype=pd.ArrowDtype(pa.binary())),
    "Arrow, texts": lambda tmp, paths: pa.array(paths),
    "Arrow, texts in chunks": lambda tmp, paths: pa.chunked_array([paths[:2], paths[2:]]),
    "Arrow, dictionary of texts": lambda tmp, paths: pa.array(paths).dictionary_encode(),
    "Arrow, bytes": lambda tmp, paths: pa.array(FILES, pa.large_binary()),
    "Arrow, records": lambda tmp, paths: pa.array(RECORDS),
    "Arrow, column of a table": lambda tmp, paths: pa.table({"image": RECORDS, "label": range(N)})["image"],
    "Arrow, table of one column": lambda tmp, paths: pa.table({"image": FILES}),
    "Arrow, scalars": lambda tmp, paths: list(pa.array(RECORDS)),
    "HDF5, pixels": lambda tmp, paths: hdf5(tmp, "pixels", paths),
    "HDF5, files": lambda tmp, paths: hdf5(tmp, "files", paths),
    "HDF5, paths": lambda tmp, paths: hdf5(tmp, "paths", paths),
    "zarr, pixels": lambda tmp, paths: zarray("pixels", paths),
    "zarr, files": lambda tmp, paths: zarray("files", paths),
    "zarr, paths": lambda tmp, paths: zarray("paths", paths),
    "pairs of image and text": lambda tmp, paths: [(Image.fromarray(pixels), "cat") for pixels in PIXELS],
    "pairs of path and number": lambda tmp, paths: [(path, i) for i, path in enumerate(paths)],
    "triples of image, image of another kind and number": lambda tmp, paths: [
        (path, np.zeros((6, 7)), i) for i, path in enumerate(paths)
    ],
    "TensorDataset": lambda tmp, paths: TensorDataset(TENSORS),
    "TensorDataset with targets": lambda tmp, paths: TensorDataset(TENSORS, torch.arange(N)),
    "Subset": lambda tmp, paths: Subset(TensorDataset(TENSORS.flip(0), torch.arange(N)), range(N)[::-1]),
    "ConcatDataset": lambda tmp, paths: ConcatDataset([TensorDataset(TENSORS[:2]), TensorDataset(TENSORS[2:])]),
    "PIL images on access": lambda tmp, paths: OnAccess(lambda i: Image.fromarray(PIXELS[i])),
    "PIL files on access": lambda tmp, paths: OnAccess(lambda i: Image.open(paths[i])),
    "pairs on access": lambda tmp, paths: OnAccess(lambda i: (Image.fromarray(PIXELS[i]), i)),
    "paths on access": lambda tmp, paths: OnAccess(lambda i: Path(paths[i])),
    "open files on access": lambda tmp, paths: OnAccess(lambda i: io.BytesIO(FILES[i])),
}
ON_ACCESS = [name for name in SOURCES if name.startswith(("HDF5", "zarr", "Subset", "ConcatD")) or "on access" in name]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:The data type", "ignore::ResourceWarning")
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_holds_the_same_pictures_and_its_rows_can_be_selected(source, tmp_path, paths):
    X = SOURCES[source](tmp_path, paths)
    images = as_images(X)
    assert len(images) == N
    assert images.learn_value_range() is None
    for i in range(N):
        np.testing.assert_array_equal(images[i], PIXELS[i])
        np.testing.assert_array_equal(images[i], PIXELS[i])  # an open file can be read again
    assert source not in ON_ACCESS or isinstance(read_once(X), ImageCollection)
    selected = as_images(take_rows(read_once(X), np.array([4, 1])))
    np.testing.assert_array_equal([selected[0], selected[1]], PIXELS[[4, 1]])
    by_sklearn = _safe_indexing(as_images(X), np.array([4, 1]))
    np.testing.assert_array_equal([by_sklearn[0], by_sklearn[1]], PIXELS[[4, 1]])


@pytest.mark.parametrize("name", ["image", "photo"])
def test_a_data_set_of_the_hub_gives_its_column_and_says_so(name, paths):
    datasets = pytest.importorskip("datasets")
    rows = {name: [Image.fromarray(pixels) for pixels in PIXELS], "label": list(range(N))}
    whole = datasets.Dataset.from_dict(rows)
    for X in (whole[name], whole.cast_column(name, datasets.Image(decode=False))[name], whole.select_columns(name)):
        images = as_images(X)
        for i in range(N):
            np.testing.assert_array_equal(images[i], PIXELS[i])
    with pytest.raises(TypeError, match=r"can be read only once; write list\(X\)"):
        as_images(whole.to_iterable_dataset())
    with pytest.raises(ValueError, match=rf"Got 2 columns instead; .*X\['{name}'\]"):
        as_images(whole)


def test_an_image_folder_of_torchvision_gives_its_images_unread(tmp_path, paths):
    from torchvision.datasets import ImageFolder

    for i, name in enumerate("ab"):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / "0.png").write_bytes(FILES[i])
    dataset = ImageFolder(tmp_path / "root")
    for X in (dataset, dataset.samples, Subset(dataset, [0, 1])):
        np.testing.assert_array_equal(as_images(X)[1], PIXELS[1])


def test_files_and_records_share_digests_with_their_bytes():
    plain = as_images(FILES)
    for X in ([io.BytesIO(content) for content in FILES], RECORDS, pa.array(FILES), OnAccess(lambda i: FILES[i])):
        assert [as_images(X).digest(i) for i in range(N)] == [plain.digest(i) for i in range(N)]


def test_a_collection_is_indexed_by_scikit_learn_without_reading():
    X = OnAccess(lambda i: Image.fromarray(PIXELS[i]))
    images = as_images(X)
    asked = len(X.asked)
    train, test = train_test_split(images, random_state=0)
    assert (len(train), len(test)) == (3, 2)
    for fold, _ in KFold(2).split(images):
        assert len(_safe_indexing(images, fold)) == len(fold)
    assert len(images[[True, False, True, False, False]]) == len(images[1:3]) == 2
    assert len(X.asked) == asked == 1


def test_an_open_file_is_left_where_it_stood():
    file = io.BytesIO(FILES[0] + b"behind")
    file.seek(3)
    read_image(file)
    assert file.tell() == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: io.StringIO("text"), "open for bytes"),
        (lambda: io.BytesIO(b"no picture"), "must be an image in a format"),
        (lambda: io.BytesIO(), "0 bytes"),
        (lambda: {"bytes": None, "path": None}, "None, a missing value"),
        (lambda: {"image": b"", "label": 1}, r"dictionary with the keys \['image', 'label'\]"),
        (lambda: np.ma.masked_equal(PIXELS[0], PIXELS[0, 0, 0, 0]), "masked values instead; .*filled"),
        (lambda: torch.zeros(5, 5).to_sparse(), r"sparse tensor instead; pass tensor\.to_dense"),
        (lambda: torch.zeros(5, 5, device="meta"), "on the device 'meta'"),
        (lambda: torch.quantize_per_tensor(torch.zeros(5, 5), 0.1, 0, torch.quint8), r"pass tensor\.dequantize"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_an_item_that_cannot_be_used_is_named(make, message):
    with pytest.raises(ImageReadError, match=message):
        read_image(make())
    with pytest.raises(ImageReadError, match=f"image 1.*{message}"):
        as_images([FILES[0], make()])[1]


def test_a_closed_file_and_a_connection_are_named():
    closed = io.BytesIO(FILES[0])
    closed.close()

    class Connection(io.RawIOBase):
        def readable(self):
            return True

    for file in (closed, Connection()):
        with pytest.raises(ImageReadError, match=r"cannot be read from its beginning.*file\.read\(\)"):
            read_image(file)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: io.BytesIO(FILES[0]), r"single BytesIO instead; write \[image\]"),
        (lambda: RECORDS[0], r"single dict instead; write \[image\]"),
        (lambda: [["a.png", 1], ["b.png", 2]], r"list of \(str, int\) instead; .*\[row\[0\] for row in X\]"),
        (lambda: [("a.png", "cat"), ("b.png", "dog")], r"tuple of \(str, str\) instead; .*\[row\[0\] for row in X\]"),
        (lambda: [(PIXELS[0], PIXELS[1])], "must have one column"),
        (lambda: [{"image": FILES[0], "label": 1}], r"\[row\['image'\] for row in X\]"),
        (lambda: OnAccess(lambda i: {"image": FILES[i], "label": 1}), r"\[row\['image'\] for row in X\]"),
        (lambda: OnAccess(lambda i: {"a": 1}), "OnAccess whose first item is a dictionary with the keys"),
        (lambda: OnAccess(lambda i: FILES[i], n=0), "at least one image. Got an empty OnAccess"),
        (lambda: pa.table({"label": [1], "image": FILES[:1]}), r"Got 2 columns instead; .*X\['image'\]"),
        (lambda: torch.utils.data.DataLoader(TensorDataset(TENSORS)), r"gives batches; write X\.dataset"),
        (lambda: type("NoLength", (), {"__getitem__": lambda X, i: FILES[i]})(), "has no length; give it a __len__"),
        (lambda: np.ma.masked_equal(PIXELS, 3), r"masked values instead; fill them"),
        (lambda: np.ma.masked_equal(np.eye(3), 1), r"3 masked values instead; fill them"),
        (lambda: TENSORS.to_sparse(), r"to_dense"),
        (lambda: torch.nested.nested_tensor([torch.zeros(3, 5, 5), torch.zeros(3, 6, 5)]), r"list\(tensor.unbind"),
        (lambda: TENSORS.to("meta"), "device 'meta'"),
        (lambda: "x" * 2_000_000, r"single path 'x+…'"),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_x_that_cannot_be_used_says_what_to_write(make, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        as_images(make())
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["A" * 1_000_000, "data:image/png;base64," + "A" * 1_000_000])
def test_a_text_that_is_no_path_is_not_repeated(text):
    with pytest.raises(ImageReadError, match="base64") as caught:
        as_images([text])[0]
    assert len(str(caught.value)) < 500
    assert len(caught.value.path) < 100
