"""
Sounds as pictures
==================

A spectrogram is a picture, so a network of pictures makes vectors of sounds: useful where no network of sounds is at
hand. Here are words of two vowels, made by formula, and what plain numbers of the spectrogram score on the same folds.
"""

# %%
# Words
# -----
# Each of six words is a hum of random pitch whose resonances, the formants, move from one vowel to another. It is
# spoken somewhere within a second of noise, by a throat of random length.

import matplotlib.pyplot as plt
import numpy as np
from scipy import signal
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor, compare_transfer

RATE = 8000  # samples a second
FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}  # Hz


def speak(word, rng, noise=0.6):
    """Make the samples of a word."""
    n = int(RATE * rng.uniform(0.35, 0.6))
    time = np.linspace(0, 1, n)
    pitch, throat = rng.uniform(90, 250), rng.uniform(0.85, 1.2)
    ends = [throat * np.array(FORMANTS[vowel]) for vowel in word]
    formants = [np.interp(time, [0.35, 0.65], [first, last]) for first, last in zip(*ends, strict=True)]
    voice = np.zeros(n)
    for harmonic in pitch * np.arange(1, RATE / 2 // pitch):
        loudness = sum(1 / (1 + ((harmonic - formant) / 80) ** 2) / (k + 1) for k, formant in enumerate(formants))
        voice += loudness * np.sin(2 * np.pi * harmonic * time * n / RATE)
    voice *= np.sqrt(np.sin(np.pi * time)) / voice.std()
    sound = noise * rng.standard_normal(RATE)
    start = rng.integers(RATE - n)
    sound[start : start + n] += voice
    return sound


rng = np.random.default_rng(0)
y = np.repeat(["ai", "ia", "au", "ua", "iu", "ui"], 40)
sounds = np.array([speak(word, rng) for word in y])

# %%
# The pictures
# ------------
# Energies in 64 bands of the mel scale, in decibels below the loudest, low tones at the bottom. scipy is all it takes.


def mel_pictures(sounds, n_bands=64, floor=60):
    """Turn sounds into grey pictures."""
    frequencies, _, power = signal.spectrogram(sounds, RATE, nperseg=512, noverlap=387)
    mels = 2595 * np.log10(1 + frequencies / 700)
    centres = np.linspace(0, mels[-1], n_bands + 2)[1:-1]
    bands = np.clip(1 - np.abs(mels - centres[:, None]) / centres[0], 0, None)
    decibels = 10 * np.log10(bands @ power + 1e-12)
    below = decibels - decibels.max(axis=(1, 2), keepdims=True)
    return np.rint(255 * np.clip(1 + below / floor, 0, 1)).astype(np.uint8)[:, ::-1]


X = mel_pictures(sounds)
figure, axes = plt.subplots(2, 3, figsize=(7, 5), layout="constrained")
for ax, word in zip(axes.flat, np.unique(y), strict=True):
    ax.imshow(X[y == word][0], cmap="magma")
    ax.set(title=word, xticks=[], yticks=[])
figure.savefig("sounds.png")

# %%
# The comparison
# --------------
# ``pixels`` is a linear model on the picture as it is. ``trimmed`` knows more: it cuts away what is not spoken, and
# takes the mean of each quarter of the rest. The same linear model stands on all of them.


def flat(X):
    """Take all pixels."""
    return X.reshape(len(X), -1)


def trimmed(X):
    """Take the means of the quarters of what is spoken."""
    rows = []
    for picture in X.astype(float):
        loudness = picture.mean(axis=0)
        spoken = np.flatnonzero(loudness > (loudness.min() + loudness.max()) / 2)
        quarters = np.array_split(picture[:, spoken[0] : spoken[-1] + 1], 4, axis=1)
        rows.append(np.concatenate([quarter.mean(axis=1) for quarter in quarters]))
    return np.array(rows)


def on(transformer):
    """Put a linear model on features."""
    return make_pipeline(transformer, LinearProbeClassifier())


features = {"layer": "all", "pooling": "avg+std"}
candidates = {
    "pixels": on(FunctionTransformer(flat)),
    "trimmed": on(FunctionTransformer(trimmed)),
    "network": on(PretrainedFeatureExtractor(**features)),
    "random network": on(PretrainedFeatureExtractor(weights=None, random_state=0, **features)),
}
splits = StratifiedShuffleSplit(10, train_size=60, test_size=120, random_state=0)
comparison = compare_transfer(X, y, candidates=candidates, baseline="pixels", cv=splits, duplicates="ignore")
print(comparison)
comparison.plot().figure_.savefig("sounds_comparison.png")

# %%
# The network needs no knowledge of sounds, and its pretraining counts: pixels do not know that a word is the same word
# a little later. Whoever knows how to trim a sound does better without a network. Compare before you believe either.
