"""Options that several commands share, worded once."""

from typing import Annotated

import typer

__all__ = [
    "BackboneOption",
    "DepthOption",
    "DeviceOption",
    "EpochsOption",
    "ImageSizeOption",
    "JobsOption",
    "JsonOption",
    "MaxImagesOption",
    "OnErrorOption",
    "PrecisionOption",
    "VerboseOption",
    "WeightsOption",
    "one_of",
    "stop_or",
]


def one_of(*words):
    """Return a callback that lets one of some words pass, or several of them in a list."""

    def parse(value):
        for word in value if isinstance(value, list) else [value]:
            if word is not None and word not in words:
                from sktl._validation import did_you_mean

                raise typer.BadParameter(
                    f"must be one of {', '.join(words)}. Got {word!r} instead.{did_you_mean(word, words)}"
                )
        return value

    return parse


def stop_or(word):
    """Return a callback for what to do at an image that cannot be read, in the words of the estimators."""

    def parse(value):
        return "raise" if value in ("stop", "raise") else one_of("stop", word)(value)

    return parse


def _number_or_word(word, least):
    def parse(text):
        if text == word:
            return text
        if text.isdecimal() and int(text) >= least:
            return int(text)
        raise typer.BadParameter(f"must be a whole number, {least} or more, or {word!r}. Got {text!r} instead.")

    return parse


def _pretrained(text):
    if text.lower() == "none":
        raise typer.BadParameter(
            f"must name pretrained weights. Got {text!r} instead: training without them is what 'sktl compare' does as "
            "its candidate 'from_scratch'."
        )
    return text


BackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="The pretrained network: see 'sktl backbones'. Unless told, efficientnet_lite0 for photographs, where it "
        "is installed, and tiny_fractal, which ships with sktl, for the rest.",
        show_default=False,
    ),
]
WeightsOption = Annotated[
    str, typer.Option("--weights", help="Its pretrained weights: a name or a file.", callback=_pretrained)
]
ImageSizeOption = Annotated[
    int | None, typer.Option("--image-size", min=1, help="Side length in pixels to bring images to.")
]
DepthOption = Annotated[
    str,
    typer.Option(
        "--unfreeze-depth", help="Top stages to fine-tune: a number or 'all'.", callback=_number_or_word("all", 0)
    ),
]
EpochsOption = Annotated[
    str,
    typer.Option("--max-epochs", help="Training budget: a number or 'auto'.", callback=_number_or_word("auto", 1)),
]
MaxImagesOption = Annotated[
    int | None,
    typer.Option("--max-images", min=2, help="Use at most so many images, in the same shares of classes."),
]
OnErrorOption = Annotated[
    str,
    typer.Option(
        "--on-error",
        help="At images that cannot be read: name all of them and stop, before anything is fitted, or skip them.",
        callback=stop_or("skip"),
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="Where to compute: auto, cpu, cuda, mps.")]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Number format of the network: auto, float32, bfloat16.",
        callback=one_of("auto", "float32", "bfloat16"),
    ),
]
JobsOption = Annotated[int | None, typer.Option("--n-jobs", help="Threads that read images.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
VerboseOption = Annotated[bool, typer.Option("--verbose/--quiet", help="Say on stderr how far the work is.")]
