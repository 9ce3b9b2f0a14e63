"""From a network of transformers, filled or drawn, to its Backbone."""

from sktl.backbones._backbone import make_backbone
from sktl.backbones.finiteness import check_finite
from sktl.backbones.sources._image_processors import flips_channels, preprocessing_of
from sktl.backbones.sources._transformers import categories_of, chain_of, written_configuration

__all__ = ["record_of"]


def record_of(name, network, configuration, processor, *, preprocessing, names_classes, **facts):
    """Return the Backbone of a network that was built with a configuration; its classifier is taken out.

    An image processor says how pictures are prepared where `preprocessing` is None.
    """
    check_finite(dict(network.named_parameters()), name)  # or else no chain would reproduce the output
    flipped = processor is not None and flips_channels(processor)
    preprocessing = preprocessing or preprocessing_of(processor, configuration, name)
    chain = chain_of(network, preprocessing.crop_size, flipped=flipped)
    return make_backbone(
        name,
        chain,
        n_features=chain.n_features,
        preprocessing=preprocessing,
        categories=categories_of(configuration) if names_classes and chain.head is not None else None,
        configuration=written_configuration(type(network), configuration, flipped=flipped),
        **facts,
    )
