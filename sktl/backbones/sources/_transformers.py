"""Vision networks of transformers: built from a configuration, filled, and what of them features and classifier are."""

import copy
import inspect
import json
import sys
from contextlib import contextmanager
from threading import RLock

import torch
from torch import nn

from sktl._forking import free_after_fork
from sktl._optional import import_optional
from sktl.stages.traced_stages import chain_of_features

__all__ = [
    "build",
    "categories_of",
    "chain_of",
    "checked_class",
    "image_size_of",
    "is_network",
    "fill",
    "network_of",
    "quiet",
    "read_configuration",
    "transformers",
    "without_pooler",
    "written_configuration",
]

_MAX_NUMBERS = 2 * 10**9  # of a network that a file describes, which may come from anybody
_QUIET_LOCK = free_after_fork(RLock())  # how much transformers says is a matter of the whole process
# What configurations name that is not in them: other repositories, and files anywhere.
_FROM_ELSEWHERE = ("backbone", "use_pretrained_backbone", "model_args")
_ONLY_FACTS = ("pretrained_cfg", "id2label", "label2id")
_VISION = (
    "backbone must be an image network of transformers that takes pixel_values of three colours: a model for image "
    "classification, a base model such as ViT, DINOv2, Swin, ConvNeXt or ResNet, or CLIP and SigLIP."
)


def transformers(caller="a network of the Hugging Face Hub"):
    """Import transformers, or say which extra brings it."""
    return import_optional("transformers", extra="hub", caller=caller)


def is_network(module):
    """Return whether a module is one of transformers, without importing it for that."""
    return any(each.__module__.startswith("transformers.") for each in type(module).__mro__) and hasattr(
        module, "config"
    )


def read_configuration(folder):
    """Return the class of the network in a folder and the configuration that it is built with."""
    library = transformers()
    try:
        with quiet():
            values, _ = library.PretrainedConfig.get_config_dict(folder, local_files_only=True)
            _check_stands_alone(values)
            configuration = library.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{_VISION} Got a config.json that cannot be read instead: {reason}") from error
    return _network_class(library, _with_plain_attention(configuration))


def _check_stands_alone(values):
    """Refuse what lets transformers, or timm for it, fetch other networks or read other files to build this one."""
    for name, value in values.items():
        if isinstance(value, dict):
            _check_stands_alone({} if name in _ONLY_FACTS else value)
        is_elsewhere = name == "architecture" and not str(value).replace(".", "_").isidentifier()
        if is_elsewhere or (name in _FROM_ELSEWHERE and value):
            raise ValueError(f"it takes a part from elsewhere, {name}={value!r}")


def _with_plain_attention(configuration):
    """Let torch compute attention, whatever a file asks for: other kernels may be code from the Hub."""
    configuration._attn_implementation = None
    return configuration


def _network_class(library, configuration):
    """Return the class for image classification that a configuration names, or else the base model or image tower."""
    named = (configuration.architectures or [None])[0]
    classifiers = library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.get(type(configuration), None) or ()
    for each in classifiers if isinstance(classifiers, tuple) else (classifiers,):
        if each.__name__ == named:
            return checked_class(each, configuration)
    if configuration.model_type == "vit_mae":  # which leaves out patches at random; the encoder is a plain ViT
        values = {name: value for name, value in configuration.to_dict().items() if name != "model_type"}
        configuration = library.ViTConfig.from_dict(values)
    tower = getattr(configuration, "vision_config", None)
    configuration = tower if isinstance(tower, library.PretrainedConfig) else configuration
    return checked_class(library.MODEL_MAPPING.get(type(configuration), None), configuration)


def checked_class(network_class, configuration):
    """Return a class and its configuration, or say why that is no image network."""
    shown = f"the model type {configuration.model_type!r}"
    if isinstance(network_class, tuple):
        network_class = network_class[0]
    if network_class is None or network_class.main_input_name != "pixel_values":
        raise ValueError(f"{_VISION} Got {shown} instead.")
    if getattr(configuration, "num_channels", 3) != 3:
        raise ValueError(f"{_VISION} Got {shown} for {configuration.num_channels} channels instead.")
    if getattr(configuration, "quantization_config", None) is not None:
        raise ValueError(f"{_VISION} Got quantised weights instead: name the repository with the whole ones.")
    return network_class, configuration


def build(network_class, configuration):
    """Build a network with random weights from torch's global generator, as transformers draws them.

    From a copy of the configuration, since some networks write into it.
    """
    with quiet():
        return without_pooler(network_class._from_config(copy.deepcopy(configuration), dtype=torch.float32).eval())


def fill(network_class, configuration, folder):
    """Build a network with the weights of a folder; return it with what is missing, unexpected and mismatched."""
    with quiet():
        network, info = network_class.from_pretrained(
            folder,
            config=copy.deepcopy(configuration),
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    network = without_pooler(network.eval())
    own = network.state_dict().keys()
    missing = tuple(sorted(own & set(info["missing_keys"])))
    mismatched = tuple(sorted(f"{each[0]}: {tuple(each[1])} in the file" for each in info["mismatched_keys"]))
    return network, missing, tuple(sorted(info["unexpected_keys"])), mismatched


def without_pooler(network):
    """Leave out a dense layer over the class token: many files do not hold it, and no image classifier reads it."""
    base = network.base_model
    if isinstance(getattr(getattr(base, "pooler", None), "dense", None), nn.Linear):
        base.pooler = None
    return network


def image_size_of(configuration):
    """Return the image size that a network was built for; None for those that take any, or no square."""
    tower = getattr(configuration, "vision_config", None)
    size = getattr(configuration if tower is None else tower, "image_size", None)
    sides = {size} if isinstance(size, int) else {*(size or ())}
    return sides.pop() if len(sides) == 1 else None


def chain_of(network, image_size, *, flipped=False):
    """Cut a network into a Chain; takes its classifier out of it."""
    head = _take_classifier(network)
    _keep_no_biases(network)
    options = {}
    if image_size_of(network.config) not in (None, image_size):
        accepted = inspect.signature(network.forward).parameters
        options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepted else {}
    run = _Run(flipped, options)
    return chain_of_features(network, run, head=head, family=network.config.model_type, image_size=image_size)


def _keep_no_biases(network):
    """Let LeViT compute its attention biases anew when weights are loaded into it."""
    for part in network.modules():
        if hasattr(part, "attention_bias_cache"):
            part.register_load_state_dict_post_hook(_forget_biases)


def _forget_biases(part, _):
    part.attention_bias_cache = {}


class _Run:
    """Computes the features of images: what the classifier of a network takes, or else its own pooled vector."""

    def __init__(self, flipped, options):
        self.flipped, self.options = flipped, options

    def __call__(self, network, images):
        """Return features of shape (n_images, n_features)."""
        _clear_caches(network)
        images = images.flip(1) if self.flipped else images  # to blue, green, red
        output = network(pixel_values=images, return_dict=True, **self.options)
        if _has_two_tokens(network):
            return torch.cat([output.cls_logits, output.distillation_logits], dim=1)
        for name in ("logits", "pooler_output"):
            if getattr(output, name, None) is not None:
                return output[name].flatten(1)
        return _pooled(network, output.last_hidden_state)


def _clear_caches(network):
    """Let functions of transformers compute anew what they keep: a recording of calls must see them make it."""
    names = {type(part).__module__ for part in network.modules()}
    for name in sorted(name for name in names if name.startswith("transformers.")):
        for function in vars(sys.modules[name]).values():
            for cell in getattr(function, "__closure__", None) or ():
                if hasattr(cell.cell_contents, "cache_clear"):
                    cell.cell_contents.cache_clear()


def _pooled(network, output):
    """Pool maps and patches by their mean; where there is a class token, take that."""
    if output.ndim == 4:
        return output.mean((2, 3))
    has_class_token = any(name.endswith("cls_token") for name, _ in network.named_parameters())
    return output[:, 0] if has_class_token else output.mean(1)


def _take_classifier(network):
    """Replace the classifiers of a network by nothing, so that it returns what they take, and return them as one."""
    if not _classifies(network):
        return None
    names = [name for name, part in network.named_children() if _scores(part, network.config.num_labels)]
    if not names and network.config.num_labels > 0:
        raise ValueError(
            f"a network of transformers for image classification must have a classifier beside its base model. "
            f"Found none in {type(network).__name__} instead: pass its base model."
        )
    classifiers = [getattr(network, name) for name in names]
    for name in names:
        setattr(network, name, nn.Identity())
    if len(classifiers) <= 1:
        return classifiers[0] if classifiers else None
    return MeanOfClassifiers(classifiers, shared=not _has_two_tokens(network))


def _scores(part, n_classes):
    layers = [layer for layer in part.modules() if isinstance(layer, nn.Linear)]
    return len(layers) == 1 and layers[0].out_features == n_classes


def _classifies(network):
    return "ForImageClassification" in type(network).__name__


def _has_two_tokens(network):
    """Return whether two classifiers take a token each, as in a distilled DeiT."""
    return hasattr(network, "distillation_classifier")


class MeanOfClassifiers(nn.Module):
    """Averages the scores of two classifiers, the second one of which was distilled from a teacher."""

    def __init__(self, classifiers, shared):
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)
        self.shared = shared

    def forward(self, features):
        """Return the mean score, shape (n_images, n_classes)."""
        parts = [features] * 2 if self.shared else features.chunk(2, dim=1)
        first, second = (classify(part) for classify, part in zip(self.classifiers, parts, strict=True))
        return (first + second) / 2


def categories_of(configuration):
    """Return the names of the classes, or None where they only have numbers."""
    labels = getattr(configuration, "id2label", None) or {}
    names = tuple(str(labels[index]) for index in sorted(labels))
    return None if not names or names == tuple(f"LABEL_{i}" for i in range(len(names))) else names


def written_configuration(network_class, configuration, *, flipped):
    """Write in JSON what builds the network again."""
    values = json.loads(configuration.to_json_string(use_diff=True))
    for name in ("id2label", "label2id", "architectures", "auto_map", "_name_or_path", "transformers_version", "dtype"):
        values.pop(name, None)
    return {"class": network_class.__name__, "flipped": flipped, "values": values}


def network_of(written):
    """Build the network of a written configuration; return it, and whether its channels are flipped.

    Raises
    ------
    ValueError
        If it is none of an image network, or of one that would fill the memory.
    """
    library, values = transformers(), copy.deepcopy(written["values"])
    try:
        _check_stands_alone(values)
        configuration = library.AutoConfig.for_model(values.pop("model_type"), **values)
        configuration = _with_plain_attention(configuration)
        possible = [library.MODEL_MAPPING.get(type(configuration), None)]
        possible.append(library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.get(type(configuration), None))
        classes = [each for entry in possible for each in (entry if isinstance(entry, tuple) else (entry,))]
        network_class = next(each for each in classes if each is not None and each.__name__ == written["class"])
        network_class, configuration = checked_class(network_class, configuration)
        with quiet(), torch.device("meta"):
            empty = network_class._from_config(copy.deepcopy(configuration))
            n_numbers = sum(each.numel() for each in empty.parameters())
    except Exception as error:  # values that no network has fail in any way they like
        raise ValueError(
            f"the configuration of {written['class']!r} must be that of an image network: {error!r}"
        ) from error
    if n_numbers > _MAX_NUMBERS:
        raise ValueError(f"a network must have at most {_MAX_NUMBERS:,} weights. Got {n_numbers:,} instead.")
    return build(network_class, configuration), written["flipped"]


@contextmanager
def quiet():
    """Keep reports of transformers to itself for a while: what is wrong becomes an error or a warning of sktl."""
    logging = transformers().logging
    with _QUIET_LOCK:  # or else a second thread would find, and put back, the silence of the first one
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
