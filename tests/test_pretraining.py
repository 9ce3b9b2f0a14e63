"""The command that pretrains `tiny_formula`, and the pictures that it draws."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sktl.backbones.sources._bundled import BUNDLED, TINY_FRACTAL, TinyResNet

COMMAND = Path(__file__).parents[1] / "pretraining" / "tiny_formula.py"
pytest.importorskip("matplotlib", reason="letters are drawn with its fonts")


@pytest.fixture(scope="module")
def pretraining():
    if not COMMAND.exists():
        pytest.skip("the pretraining command is in the repository, not in the package")
    path, before = list(sys.path), set(sys.modules)
    spec = importlib.util.spec_from_file_location("pretraining_tiny_formula", COMMAND)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = path
        for name in {spec.name, "tiny_fractal", "_families"} - before:
            sys.modules.pop(name, None)


def parse(pretraining, *more):
    small = "--shapes 10 --textures 4 --instances 2 --batch 8 --size 16 --widths 4 4 8 8 --start random"
    return pretraining.parse([*small.split(), "--warm-up", "2", "--renew", "3", *more])


def run(pretraining, folder, steps, *more):
    output = str(folder / f"{steps}.safetensors")
    ends = ["--folder", str(folder), "--output", output, "--steps", str(steps), "--decay", "2"]
    return pretraining.train(parse(pretraining, *ends, *more))


def test_an_interrupted_run_and_one_made_longer_later_end_as_one_in_a_piece(pretraining, tmp_path, capsys):
    whole = run(pretraining, tmp_path / "whole", 7)
    assert run(pretraining, tmp_path / "parts", 5, "--pause-after", "2") is None
    assert "paused at step 2 of 5" in capsys.readouterr().out
    torch.manual_seed(123)  # whatever happened in between must not matter
    np.random.seed(123)  # noqa: NPY002
    assert run(pretraining, tmp_path / "parts", 5, "--pause-after", "4") is None  # within the end
    assert run(pretraining, tmp_path / "parts", 5) is not None
    assert "go on at step 4" in capsys.readouterr().out
    longer = run(pretraining, tmp_path / "parts", 7)
    assert "go on at step 3" in capsys.readouterr().out  # where the rate began to fall
    assert whole.read_bytes() == longer.read_bytes()
    TinyResNet(10, (4, 4, 8, 8)).load_state_dict(load_file(longer), strict=True)
    with pytest.raises(SystemExit, match="step 5: --steps less --decay must be at least that"):
        run(pretraining, tmp_path / "parts", 6)


def test_a_checkpoint_of_another_recipe_is_not_continued(pretraining, tmp_path, capsys):
    run(pretraining, tmp_path, 5, "--pause-after", "1")
    run(pretraining, tmp_path, 5, "--pause-after", "1", "--seed", "5")
    assert "another recipe" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.part"))


def test_the_rate_rises_stays_and_falls_to_almost_nothing(pretraining):
    options = parse(pretraining, "--steps", "10", "--decay", "4", "--learning-rate", "1")
    rates = [pretraining.rate_at(step, options) for step in range(10)]
    np.testing.assert_allclose(rates, [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_every_family_draws_pictures_that_are_more_alike_within_a_class(pretraining):
    families = sys.modules["_families"]
    for family in families.SHARES:
        rng = np.random.default_rng(0)
        classes = families.sample_shapes(6, [family], rng)
        drawn = families.draw_shapes(classes, 8, 32, rng)
        assert (drawn.shape, drawn.dtype) == ((48, 32, 32), np.uint8), family
        assert ((drawn > 0).mean((1, 2)) > 0.01).all(), family
        _assert_alike_within_classes(drawn, family)
    rng = np.random.default_rng(0)
    drawn = families.draw_textures(families.sample_textures(10, rng), 8, 32, rng)
    assert (drawn.reshape(80, -1).std(1) > 10).all()
    _assert_alike_within_classes(np.abs(np.fft.rfft2(drawn))[:, 1:], "textures")  # alike but for the place


def _assert_alike_within_classes(drawn, family):
    x = drawn.reshape(len(drawn), -1).astype(float)
    x = (x - x.mean(0)) / np.linalg.norm(x - x.mean(0), axis=1, keepdims=True)
    alike, y = x @ x.T, np.arange(len(x)) // 8
    same = (y[:, None] == y) & ~np.eye(len(y), dtype=bool)
    assert alike[same].mean() > alike[y[:, None] != y].mean() + 0.05, family


def test_no_letter_is_a_digit_and_every_font_is_there(pretraining):
    from matplotlib import get_data_path

    families = sys.modules["_families"]
    assert not any(letter.isnumeric() for letter in families.LETTERS)
    assert len(set(families.LETTERS)) == len(families.LETTERS)
    assert all((Path(get_data_path()) / "fonts" / "ttf" / f"{font}.ttf").exists() for font in families.FONTS)


def test_what_cannot_be_seen_is_not_asked_for(pretraining):
    """Where a label is left out, other shapes (textures) give the same picture; else they give another one."""
    n = 64
    drawn = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, n, 16, 16), np.uint8))
    drawn[:2, :, 4:12, 4:12] |= 128  # in the middle there is something whatever the shift

    def paint(shape, texture):
        hard = np.arange(n) % 4 > 0
        return pretraining.paint(drawn[shape], drawn[texture], hard, 16, np.random.default_rng(1))

    x, (shape_seen, texture_seen) = paint(0, 2)
    assert 0 < shape_seen.float().mean() < 1
    assert 0 < texture_seen.float().mean() < 1
    for seen, other in ((shape_seen, paint(1, 2)[0]), (texture_seen, paint(0, 3)[0])):
        torch.testing.assert_close((other != x).flatten(1).any(1), seen)


def test_the_first_channels_start_as_those_of_the_smaller_network(pretraining):
    small = TinyResNet().eval()
    small.load_state_dict(load_file(BUNDLED[TINY_FRACTAL].weights.path))
    wide = pretraining.build(pretraining.parse(["--widths", "26", "48", "100", "200"])).network.eval()
    x = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide.embed(x)[:, :192], small.embed(x))
    assert (wide.embed(x)[:, 192:] > 0).any()


@pytest.mark.slow
def test_pretraining_lowers_the_losses(pretraining):
    options = parse(pretraining, "--size", "32", "--batch", "16", "--ramp", "20")
    pictures = pretraining.Pictures(options)
    trained = pretraining.build(options)
    trained.scale = pretraining.scale_of_statistics(pictures, options)
    losses = np.array([pretraining.take_step(trained, pictures) for _ in range(80)])
    assert (losses[-20:].mean(0) < losses[:20].mean(0)).all()
