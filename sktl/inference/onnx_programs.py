"""torch.onnx and ONNX Runtime: from a module to a program, and from a program to a session that computes."""

import torch

from sktl._optional import import_optional

__all__ = ["check_onnx_installed", "make_program", "open_session"]

CPU = "CPUExecutionProvider"


def check_onnx_installed(caller):
    """Say which extra brings what is needed, where it is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        import_optional(name, extra="onnx", caller=caller)


@torch.inference_mode(False)
@torch.no_grad()
def make_program(network, images, *, needs, output="output", any_batch=False):
    """Return the program of a network in eval mode, for batches like this one or for any number of images.

    `needs` tells who needs it, of which network, and what to do instead.
    """
    network(images)  # images that do not suit the network have an error of their own
    caller, name, way_out = needs
    try:
        return torch.onnx.export(
            network,
            (images,),
            input_names=["images"],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("n_images")},) if any_batch else None,
            dynamo=True,
            verbose=False,
        )
    except Exception as error:  # the exporter raises what it meets
        raise ValueError(
            f"{caller} needs a network that torch.onnx can export. {name} cannot be exported "
            f"({type(error).__name__}). {way_out}"
        ) from error


def open_session(model, *, caller, provider=CPU, options=()):
    """Open a session of one thread for a model, its bytes or the path of its file."""
    runtime = import_optional("onnxruntime", extra="onnx", caller=caller)
    settings = runtime.SessionOptions()
    # A session without threads of its own can be used in a forked process, too.
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    return runtime.InferenceSession(model, sess_options=settings, providers=[(provider, dict(options))])
