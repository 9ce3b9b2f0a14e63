"""Which network a command takes when --backbone names none."""

from sktl.cli._reporting import say

__all__ = ["backbone_for"]

_SMALL = "tiny_fractal"


def backbone_for(images, backbone, weights):
    """Return the network that was named, or else the one that suits the images, and say which one that is."""
    # Weights by name or file belong to one architecture: without its name, to the one that was always the default.
    if backbone is not None:
        return backbone
    if weights != "default":
        say(f"Network: {_SMALL}, since --weights goes without --backbone, which names their architecture.")
        return _SMALL
    from sktl.backbones.listing import list_cards
    from sktl.images import as_images
    from sktl.inference import are_photographs

    if not are_photographs(as_images(images)):
        return _SMALL
    card = list_cards(source="imagenet")[0]
    if card.is_here:
        say(f"Network: {card.name}, which knows photographs (ImageNet); --backbone names another one.")
        return card.name
    say(f"Network: {_SMALL}, since {card.name} is not installed.")  # a warning says what to do about it
    return _SMALL
