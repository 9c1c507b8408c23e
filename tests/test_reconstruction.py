"""Errors of reconstructions, components of blocks, and the autoencoders that a recipe trains."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from sklearn.decomposition import PCA

from flowerlib import data, recipes, reconstructed, reconstruction, splits, synthetic
from flowerlib.errors import FlowerlibError
from flowerlib.models import autoencoders

RANDOM = np.random.default_rng(0)
PICTURES = synthetic.draw(np.arange(40) * 2, np.arange(40), 32)[0]
NUMBERS = PICTURES.astype(np.float32) / 255


def test_errors_are_those_of_the_reports_and_of_scikit_image():
    again = np.clip(NUMBERS + RANDOM.normal(0, 0.05, NUMBERS.shape), 0, 1).astype(np.float32)
    table = reconstruction.errors(NUMBERS, again)
    off = np.abs(NUMBERS - again)
    np.testing.assert_allclose(table["mean"], off.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(table["std"], off.std(axis=(1, 2, 3)), rtol=1e-4)
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(NUMBERS, again, strict=True)]
    np.testing.assert_allclose(table["psnr"], expected, rtol=1e-5)
    assert ((table["ssim"] > 0.3) & (table["ssim"] < 1)).all()


def test_a_perfect_reconstruction_and_one_that_leaves_the_range():
    table = reconstruction.errors(NUMBERS, NUMBERS)
    assert (table["ssim"] > 0.9999).all() and (table["rmse"] == 0).all()
    outside = np.where(NUMBERS == 1, 1.5, NUMBERS)
    np.testing.assert_array_equal(reconstruction.errors(NUMBERS, outside)["rmse"], 0)
    with pytest.raises(FlowerlibError, match="errors: pictures"):
        reconstruction.errors(NUMBERS, NUMBERS[:3])


def test_scores_are_means_with_intervals_over_pictures():
    table = reconstruction.errors(NUMBERS, NUMBERS[::-1].copy())
    score = reconstruction.scores(table)["psnr"]
    assert score.value == pytest.approx(table["psnr"].mean()) and score.n == 40
    assert score.high - score.value == pytest.approx(1.96 * table["psnr"].std() / 40**0.5)


def test_components_of_blocks_are_orthonormal_and_all_of_them_lose_nothing():
    blocks = reconstruction.fit_blocks(PICTURES)
    assert blocks.components.shape == (64, 192) and blocks.encode(NUMBERS).shape == (40, 4, 4, 64)
    np.testing.assert_allclose(blocks.components @ blocks.components.T, np.eye(64), atol=1e-9)
    everything = reconstruction.fit_blocks(PICTURES, latent=192)
    np.testing.assert_allclose(everything.decode(everything.encode(NUMBERS)), NUMBERS, atol=1e-6)


def test_no_other_components_reconstruct_blocks_better():
    blocks = reconstruction.fit_blocks(PICTURES)
    cut = NUMBERS.reshape(40, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 192).astype(np.float64)
    pca = PCA(64, svd_solver="full").fit(cut)
    best = np.square(pca.inverse_transform(pca.transform(cut)) - cut).mean()
    ours = np.square(blocks.decode(blocks.encode(NUMBERS)) - NUMBERS).mean()
    assert best <= ours < 1.1 * best  # ours knows the mean of a channel, not that of each pixel of a block


def test_components_of_wide_blocks_are_those_of_a_full_decomposition(monkeypatch):
    monkeypatch.setattr(reconstruction, "SHIFTS", 1)  # the grid of the blocks below alone
    mean, components = reconstruction.fit_wide(PICTURES, 16, 100)
    np.testing.assert_allclose(components @ components.T, np.eye(100), atol=1e-6)
    np.testing.assert_allclose(mean, NUMBERS.reshape(-1, 3).mean(axis=0, dtype=np.float64), atol=1e-6)
    both = np.concatenate([NUMBERS, NUMBERS[:, :, ::-1]]).astype(np.float64) - mean
    cut = both.reshape(80, 2, 16, 2, 16, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 768)
    singular = np.linalg.svd(cut, compute_uv=False)
    lost = np.square(cut - cut @ components.T @ components).sum()
    assert lost == pytest.approx(np.square(singular[100:]).sum(), rel=1e-3)  # no 100 others lose less (Eckart, Young)


def test_our_network_begins_at_the_components_of_blocks():
    mean, components = reconstruction.fit_wide(PICTURES, 16, 256)
    model = autoencoders.patch_autoencoder(32, patch=16)
    autoencoders.start_linear(model, mean, components)
    made = np.asarray(model.predict_on_batch(NUMBERS[:8]))
    level = np.tile(mean, 256)
    cut = NUMBERS[:8].reshape(8, 2, 16, 2, 16, 3).transpose(0, 1, 3, 2, 4, 5).reshape(8, 2, 2, 768) - level
    back = (cut @ components.T @ components + level).reshape(8, 2, 2, 16, 16, 3).transpose(0, 1, 3, 2, 4, 5)
    np.testing.assert_allclose(made, back.reshape(8, 32, 32, 3), atol=1e-4)
    assert model.get_layer(autoencoders.LATENT).output.shape == (None, 4, 4, 64)


def test_our_latent_has_as_many_numbers_as_shens_and_nothing_passes_it_by():
    model = autoencoders.patch_autoencoder()
    assert model.get_layer(autoencoders.LATENT).output.shape == (None, 12, 12, 64)
    encoder, decoder = autoencoders.halves(model)
    seen = RANDOM.random((2, 96, 96, 3)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(decoder.predict_on_batch(np.asarray(encoder.predict_on_batch(seen)))),
        np.asarray(model.predict_on_batch(seen)),
        atol=1e-5,
    )


def test_a_unet_with_both_halves_silenced_says_the_same_of_every_picture():
    model = autoencoders.hughes_unet(32)
    some = NUMBERS[:4]
    for what in ("latent", "skips"):
        made = np.asarray(autoencoders.silenced(model, what).predict_on_batch(some))
        assert np.abs(made - np.asarray(model.predict_on_batch(some))).max() > 1e-4
    deaf = autoencoders.silenced(autoencoders.silenced(model, "latent"), "skips")
    made = np.asarray(deaf.predict_on_batch(some))
    np.testing.assert_allclose(made, made[:1].repeat(4, axis=0), atol=1e-6)


def test_interpolation_begins_and_ends_at_the_reconstructions():
    blocks = reconstruction.fit_blocks(PICTURES)
    line = reconstruction.interpolate(blocks.encode, blocks.decode, NUMBERS[0], NUMBERS[1], 5)
    ends = np.clip(blocks.decode(blocks.encode(NUMBERS[:2])), 0, 1)
    np.testing.assert_allclose(line[[0, -1]], ends, atol=1e-6)
    assert len(line) == 5


@pytest.mark.parametrize(
    ("name", "steps"),
    [("shen-autoencoder", 40), ("ours-autoencoder@model.patch=8", 300), ("hughes-autoencoder-cut", 40)],
)
def test_a_recipe_trains_its_autoencoder_and_gets_better(name, steps, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(reconstructed, "manifest", lambda _: "drawn")
    recipe = recipes.load(f"{name}@data.size_px=32@budget.steps={steps}@budget.learning_rate=0.001", "smoke")
    fine, sets = data.drawn_layout()
    dataset = data.Dataset("drawn", PICTURES, fine[:40], sets)
    part = splits.Part(np.arange(30), np.zeros(30, int))
    split = splits.Split(part, splits.Part(np.arange(30, 35), np.zeros(5, int)), part, ("a",))
    model = reconstructed.build(recipe, dataset, split)
    before = reconstruction.errors(NUMBERS[:30], reconstructed.again(model, dataset, part))["rmse"].mean()
    trained, marks = reconstructed.fit_or_load(recipe, model, dataset, split)
    assert trained.history["steps"][-1] == steps and len(marks) == recipe.budget.marks
    table = reconstructed.by_minutes(model, marks, dataset, part)
    after = reconstruction.errors(NUMBERS[:30], reconstructed.again(model, dataset, part))
    assert after["rmse"].mean() < before
    assert table["value"].iloc[-1] == pytest.approx(after["psnr"].mean())
