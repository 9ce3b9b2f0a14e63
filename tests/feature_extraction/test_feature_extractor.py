"""What is particular to PretrainedFeatureExtractor; what all estimators share is in the batteries."""

import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from torch import nn

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, load_backbone
from sktl.exceptions import ImageReadError

RESNET = {"backbone": "resnet18", "weights": None, "image_size": 32, "random_state": 0}
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)


def embed(images, *args, **params):
    """Embed without the store, which may only repeat what was computed before."""
    return PretrainedFeatureExtractor(*args, cache=False, **params).fit_transform(images)


@pytest.fixture
def maps(images):
    """Output of each stage of the default network by plain torch: the oracle."""
    backbone = load_backbone()
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (backbone.preprocessing.mean, backbone.preprocessing.std)
    )
    output = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    found = {}
    with torch.no_grad():
        for name, stage in backbone.stages.named_children():
            output = found[name] = stage(output)
    return found


# Layers


@pytest.mark.parametrize("layer", [*STAGES, "penultimate"])
def test_a_layer_by_name_is_the_pooled_output_of_that_stage(images, maps, layer):
    expected = maps["stage4" if layer == "penultimate" else layer].mean((2, 3))
    assert_allclose(embed(images, layer=layer), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_by_index_counts_from_the_top(images):
    for index, name in enumerate(reversed(STAGES)):
        model = PretrainedFeatureExtractor(layer=index).fit(images)
        assert model.layers_ == [name]
        assert_array_equal(model.transform(images), embed(images, layer=name))


def test_all_layers_are_every_stage_from_the_stem_up(images):
    model = PretrainedFeatureExtractor(layer="all").fit(images)
    assert model.layers_ == list(STAGES)
    assert_array_equal(model.transform(images), embed(images, layer=list(STAGES)))


@pytest.mark.parametrize("layer", [["stage1", 0, "stage3"], ("stage4", "stem"), np.array([0, 4]), [np.int64(2)]])
def test_several_layers_are_put_side_by_side_in_the_order_asked_for(images, layer):
    expected = np.hstack([embed(images, layer=one if isinstance(one, str) else int(one)) for one in layer])
    assert_array_equal(embed(images, layer=layer), expected)


@pytest.mark.parametrize("layer", [["stage1", "stage1"], [0, "penultimate"], [1, "stage3"]])
def test_a_layer_asked_for_twice_is_an_error_since_names_would_clash(images, layer):
    with pytest.raises(ValueError, match="each stage once"):
        PretrainedFeatureExtractor(layer=layer).fit(images)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("stage5", r"Got 'stage5' instead\. Did you mean 'stage"),
        ("Penultimate", "Did you mean 'penultimate'"),
        ("layer4", "one of the stages"),
        (6, "index from the top between 0 and 5"),
        (-1, "index from the top"),
        (True, "index from the top"),
        (5, "must leave at least the lowest stage, 'stem': an index below 5 for tiny_fractal"),
        (["stage1", "stage9"], "Got 'stage9' instead"),
        ([], "at least one stage"),
    ],
)
def test_a_layer_that_the_network_does_not_have_is_answered(images, layer, message):
    with pytest.raises(ValueError, match=message):
        PretrainedFeatureExtractor(layer=layer).fit(images)


# Pooling


def test_poolings_are_what_they_say(images, maps):
    top = maps["stage3"]
    assert top.shape[2:] == (6, 6)
    halves = slice(0, 3), slice(3, 6)
    quarters = [top[:, :, rows, columns].mean((2, 3)) for rows in halves for columns in halves]
    mean, largest = top.mean((2, 3)), top.amax((2, 3))
    expected = {
        "auto": mean,
        "avg": mean,
        "max": largest,
        "avg+max": torch.cat([mean, largest], 1),
        "avg+std": torch.cat([mean, top.std((2, 3), correction=0)], 1),
        "gem": (top.clamp(min=1e-6) ** 3).mean((2, 3)) ** (1 / 3),
        "flatten": top.flatten(1),
        "pyramid": torch.cat([mean, torch.stack(quarters, 2).flatten(1)], 1),
    }
    for pooling, values in expected.items():
        model = PretrainedFeatureExtractor(layer="stage3", pooling=pooling).fit(images)
        assert model.embedding_dim_ == values.shape[1]
        assert_allclose(model.transform(images), values, rtol=1e-3, atol=1e-4, err_msg=pooling)


def test_a_pooling_that_the_network_cannot_do_is_answered_in_fit(images):
    with pytest.raises(ValueError, match="class token"):
        PretrainedFeatureExtractor(pooling="token").fit(images)


# Names, and scikit-learn's containers


@pytest.mark.parametrize("layer", ["penultimate", ["stem", "stage4"]])
def test_feature_names_say_stage_and_number_and_sort(images, layer):
    model = PretrainedFeatureExtractor(layer=layer).fit(images)
    names = model.get_feature_names_out()
    assert names.dtype == object
    assert len(set(names)) == len(names) == model.embedding_dim_ == model.transform(images).shape[1]
    for stage in model.layers_:
        of_stage = [name for name in names if name.startswith(f"{stage}_")]
        assert of_stage == sorted(of_stage)
        assert [int(name.rpartition("_")[2]) for name in of_stage] == list(range(len(of_stage)))
        assert len({len(name) for name in of_stage}) == 1
    assert names[-1] == "stage4_191"
    assert names[0] == ("stage4_000" if layer == "penultimate" else "stem_00")


@pytest.mark.parametrize(("container", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_frames_carry_the_names(images, container, frame):
    model = PretrainedFeatureExtractor().set_output(transform=container).fit(images)
    found = model.transform(images)
    assert isinstance(found, frame)
    assert list(found.columns) == list(model.get_feature_names_out())
    assert_array_equal(found.to_numpy(), embed(images))


def test_a_frame_keeps_the_index_of_a_series_of_paths(images, tmp_path):
    pytest.importorskip("sklearn", minversion="1.7", reason="set_output of earlier ones forgets the index of a series")
    paths = pd.Series([str(tmp_path / f"{i}.png") for i in range(5)], index=[5, 3, 9, 1, 0])
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    found = PretrainedFeatureExtractor().set_output(transform="pandas").fit_transform(paths)
    assert list(found.index) == [5, 3, 9, 1, 0]
    assert_array_equal(found.to_numpy(), embed(images))


def test_a_union_of_two_networks_is_both_side_by_side(images):
    union = FeatureUnion([("tiny", PretrainedFeatureExtractor()), ("resnet", PretrainedFeatureExtractor(**RESNET))])
    found = union.fit_transform(images)
    assert_array_equal(found, np.hstack([embed(images), embed(images, **RESNET)]))
    names = union.get_feature_names_out()
    assert (names[0], names[-1]) == ("tiny__stage4_000", "resnet__layer4_511")
    with sklearn.config_context(transform_output="pandas"):
        assert list(union.fit_transform(images).columns) == list(names)


def test_a_column_transformer_names_columns_of_images_and_of_numbers(images, tmp_path):
    frame = pd.DataFrame({"path": [str(tmp_path / f"{i}.png") for i in range(5)], "age": range(5)})
    for image, path in zip(images, frame["path"], strict=True):
        Image.fromarray(image).save(path)
    columns = ColumnTransformer([("look", PretrainedFeatureExtractor(), ["path"])], remainder="passthrough")
    found = columns.set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns) == [*(f"look__stage4_{i:03d}" for i in range(192)), "remainder__age"]
    assert_array_equal(found.iloc[:, :-1].to_numpy(np.float32), embed(images))


def test_columns_of_text_go_beside_images(images, tmp_path):
    frame = frame_with_captions(images, tmp_path)
    text = ("text", TfidfVectorizer(), "caption")
    columns = ColumnTransformer([("image", PretrainedFeatureExtractor(), ["path"]), text])
    found = columns.fit(frame).transform(frame)
    words = TfidfVectorizer().fit_transform(frame["caption"]).toarray()
    assert_array_equal(found, np.hstack([embed(images), words]))
    new = frame.assign(caption="words that no training caption has")
    assert not columns.transform(new)[:, 192:].any()


@pytest.mark.slow
def test_skrub_encodes_the_columns_beside_images(images, tmp_path):
    skrub = pytest.importorskip("skrub")
    frame = frame_with_captions(images, tmp_path)
    image = (PretrainedFeatureExtractor(), ["path"])
    found = skrub.TableVectorizer(specific_transformers=[image]).fit_transform(frame)
    assert_array_equal(found.filter(like="stage4").to_numpy(np.float32), embed(images))
    assert found.shape[1] > 192
    text = ("text", skrub.StringEncoder(n_components=2), "caption")
    found = ColumnTransformer([("image", *image), text]).fit_transform(frame)
    assert np.shape(found) == (5, 194)


def frame_with_captions(images, folder):
    """Return paths of the images, as files, and what was written below them."""
    frame = pd.DataFrame({"path": [str(folder / f"{i}.png") for i in range(5)]})
    for image, path in zip(images, frame["path"], strict=True):
        Image.fromarray(image).save(path)
    return frame.assign(caption=["a red ant", "a bee", "red wings", "an ant and a bee", "wings of a bee"])


# Images that cannot be read


def test_a_bad_image_becomes_a_row_of_nan_and_is_listed(images, tmp_path):
    X = [*images, b"no image", str(tmp_path / "absent.png"), images[0]]
    model = PretrainedFeatureExtractor(on_error="nan").fit(X)
    assert model.bad_images_ == []
    found = model.transform(X)
    assert np.isnan(found[[5, 6]]).all()
    assert_array_equal(found[[0, 1, 2, 3, 4, 7]], embed([*images, images[0]]))
    assert [(error.index, error.path) for error in model.bad_images_] == [
        (5, None),
        (6, str(tmp_path / "absent.png")),
    ]
    assert all(isinstance(error, ImageReadError) and error.reason for error in model.bad_images_)


def test_bad_images_are_those_of_the_last_transform(images):
    model = PretrainedFeatureExtractor(on_error="nan").fit(images)
    model.transform([images[0], b"bad"])
    assert [error.index for error in model.bad_images_] == [1]
    model.transform([b"bad", images[0]])
    assert [error.index for error in model.bad_images_] == [0]
    assert np.isnan(model.transform([b"bad", None, "absent.png"])).all()
    assert [error.index for error in model.bad_images_] == [0, 1, 2]
    model.transform(images)
    assert model.bad_images_ == []
    model.transform([b"bad"])
    assert model.fit(images).bad_images_ == []


def test_bad_images_survive_a_pickle(images):
    model = PretrainedFeatureExtractor(on_error="nan").fit(images)
    model.transform([images[0], b"bad"])
    (error,) = pickle.loads(pickle.dumps(model)).bad_images_
    assert (str(error), error.index) == (str(model.bad_images_[0]), 1)


def test_fit_reads_no_file():
    model = PretrainedFeatureExtractor().fit(["absent.png", "neither.png"])
    assert model.embedding_dim_ == 192


# Weights, sizes and devices


def test_random_weights_follow_random_state_and_nothing_else(images):
    expected = embed(images, **RESNET)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert_array_equal(embed(images, **RESNET), expected)
    assert not np.array_equal(embed(images, **{**RESNET, "random_state": 1}), expected)
    assert not np.array_equal(embed(images, **{**RESNET, "random_state": None}), expected)
    states = [np.random.RandomState(3), np.random.RandomState(3)]
    assert_array_equal(*(embed(images, **{**RESNET, "random_state": state}) for state in states))


def test_random_state_means_nothing_with_pretrained_weights(images):
    assert_array_equal(embed(images, random_state=1), embed(images, random_state=2))


def test_image_size_is_what_the_network_sees(images):
    seen = []

    class Watched(nn.Conv2d):
        def forward(self, x):
            seen.append(tuple(x.shape[2:]))
            return super().forward(x)

    network = nn.Sequential(Watched(3, 4, 3), nn.ReLU())
    for image_size in (20, 33):
        preprocessing = Preprocessing(crop_size=24)
        backbone = load_backbone(network, preprocessing=preprocessing)
        seen.clear()
        embed(images, backbone, image_size=image_size)
        assert set(seen) == {(image_size, image_size)}
    seen.clear()
    embed(images, backbone)
    assert set(seen) == {(24, 24)}


def test_image_size_of_the_weights_themselves_changes_nothing(images):
    assert_array_equal(embed(images, image_size=48), embed(images))
    assert not np.array_equal(embed(images, image_size=40), embed(images))


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_half_precision_is_close_and_independent_of_neighbours(images, precision, tolerance):
    expected = embed(images, precision="float32")
    model = PretrainedFeatureExtractor(precision=precision, cache=False).fit(images)
    found = model.transform(images)
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    assert abs(found - expected).max() <= tolerance * abs(expected).max()
    assert_array_equal(model.transform(images[[3]]), found[[3]])
    assert_array_equal(model.set_params(batch_size=2).transform(images), found)


def test_a_device_that_is_not_here_is_an_error_in_transform_at_the_latest(images):
    for device in ("cuda:99", "gpu", torch.device("meta")):
        with pytest.raises(ValueError, match=r"device must .* Got .* instead"):
            embed(images, device=device)
    assert_array_equal(embed(images, device=torch.device("cpu")), embed(images, device="cpu"))


# The object


@pytest.mark.parametrize("X", [[[0.0, 1.0, 2.0, 3.0]], "images"])
def test_what_is_fitted_is_public(images, X):
    model = PretrainedFeatureExtractor(layer=[0, "stem"]).fit(images if isinstance(X, str) else X)
    assert (model.layers_, model.bad_images_) == (["stage4", "stem"], [])
    assert model.backbone_ is load_backbone()
    assert model.value_range_ == (None if isinstance(X, str) else (0.0, 3.0))
    assert hasattr(model, "n_features_in_") == (not isinstance(X, str))


@pytest.mark.slow
def test_pickles_are_small_and_give_the_same_vectors_in_another_process(images, tmp_path):
    options = [{"cache": False}, {**RESNET, "cache": False}, {}]
    extractors = [PretrainedFeatureExtractor(**each).fit(images) for each in options]
    for i, model in enumerate(extractors):
        content = pickle.dumps(model)
        assert len(content) < 4096
        (tmp_path / f"{i}.pkl").write_bytes(content)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import pickle, sys, numpy as np, torch\n"
        "torch.set_num_threads(1)\n"
        "folder = sys.argv[1]\n"
        "images = np.load(f'{folder}/images.npy')\n"
        "for i in range(3):\n"
        "    model = pickle.load(open(f'{folder}/{i}.pkl', 'rb'))\n"
        "    np.save(f'{folder}/vectors{i}.npy', model.transform(images))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    for i, model in enumerate(extractors):
        assert_array_equal(np.load(tmp_path / f"vectors{i}.npy"), model.transform(images))


def test_the_html_form_shows_what_was_changed(images):
    for model in (PretrainedFeatureExtractor(pooling="gem"), PretrainedFeatureExtractor(pooling="gem").fit(images)):
        html = model._repr_html_()
        assert "PretrainedFeatureExtractor" in html
        assert "gem" in html
    assert "gem" in make_pipeline(model, LogisticRegression())._repr_html_()
    assert repr(model) == "PretrainedFeatureExtractor(pooling='gem')"


def test_verbose_shows_a_bar_on_standard_error_alone(images, capsys):
    embed(images, verbose=1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "0/5" in printed.err
    assert "image/s" in printed.err
    embed(images)
    assert capsys.readouterr() == ("", "")


def test_clones_share_one_network(images):
    model = PretrainedFeatureExtractor().fit(images)
    assert clone(model).fit(images).backbone_ is model.backbone_


def test_a_network_of_your_own_and_a_function_that_makes_one(images):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model = PretrainedFeatureExtractor(network.train(), image_size=48, layer=0).fit(images)
    assert model.transform(images).shape == (5, 6)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("cache", [False, True])
def test_two_extractors_work_in_threads_at_once(images, cache):
    options = {"n_jobs": 2}, RESNET
    models = [PretrainedFeatureExtractor(cache=cache, **each).fit(images) for each in options]
    expected = [embed(images, **each) for each in options]
    work = Parallel(n_jobs=2, backend="threading")
    for i, found in enumerate(work(delayed(models[i % 2].transform)(images) for i in range(8))):
        assert_array_equal(found, expected[i % 2])


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_reading_threads_give_the_same_rows(images, tmp_path, n_jobs):
    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    assert_array_equal(embed(paths * 5, n_jobs=n_jobs, batch_size=3), np.tile(embed(images), (5, 1)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_memmap_larger_than_what_is_kept_in_memory(tmp_path, dtype):
    n_images, side = 256, 256
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=dtype, shape=(n_images, side, side, 3))
    X[:, 0, 0, 0] = np.arange(n_images) / (1 if dtype == np.uint8 else n_images)  # the rest stays a hole
    model = PretrainedFeatureExtractor(image_size=192, layer="stem", batch_size=16)
    model.fit(X[:2]).transform(X[:2])  # whatever is kept for good is made now
    tracemalloc.start()
    try:
        found = model.fit(X).transform(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 4
    assert len(found) == n_images
    assert model.store_info_.n_misses == n_images - 2
    assert_array_equal(found[-3:], model.set_params(cache=False).transform(X[-3:]))


@pytest.mark.parametrize(("backbone", "size"), [("squeezenet1_1", 8), ("inception_v3", 32), ("vit_b_16", 64)])
@pytest.mark.parametrize(
    "estimator", [PretrainedFeatureExtractor, pytest.param(FineTuneClassifier, marks=pytest.mark.slow)]
)
def test_a_size_that_the_network_cannot_take_is_named(estimator, backbone, size):
    X = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    X[1] = 255
    with pytest.raises(ValueError, match=rf"image_size.*{size}"):
        estimator(backbone, weights=None, image_size=size, random_state=0).fit(X, [0, 1])


def test_with_nan_a_bad_picture_of_numbers_has_no_say_in_the_range():
    X = np.random.default_rng(0).uniform(0, 9, (4, 8, 8))
    X[1, 0, 0] = np.nan
    extractor = PretrainedFeatureExtractor(on_error="nan").fit(X)
    assert extractor.value_range_ == (np.nanmin(X[[0, 2, 3]]), np.nanmax(X[[0, 2, 3]]))
    assert np.isnan(extractor.transform(X)).all(1).tolist() == [False, True, False, False]
    assert [error.index for error in extractor.bad_images_] == [1]
    assert extractor.set_params(on_error="raise").transform(X[2:]).shape == (2, 192)
    assert extractor.bad_images_ == []


@pytest.mark.parametrize("parameters", [{"value_range": (1, 0)}, {"device": "cuda:9"}])
def test_impossible_parameters_are_found_out_in_fit(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        PretrainedFeatureExtractor(**parameters).fit(np.zeros((2, 8, 8)))
