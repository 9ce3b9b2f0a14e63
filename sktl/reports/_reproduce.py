"""The Python that runs a comparison again, given the same images and labels."""

__all__ = ["code_to_run_again"]


def code_to_run_again(comparison, last=""):
    """Write the Python that runs a comparison again where `X` and `y` are the same images and labels.

    The second value lists the names in it that stand for objects of the user.
    """
    call = comparison.settings.get("call", {})
    imports = {"compare_transfer": "sktl", **call.get("imports", {})}
    lines = [f"    {name}={text}," for name, text in call.get("arguments", {}).items()]
    code = [*sorted(f"from {module} import {name}" for name, module in imports.items()), ""]
    code += ["comparison = compare_transfer(", "    X,", "    y,", *lines, ")", "print(comparison)", last]
    return "\n".join(code).rstrip(), call.get("needed", [])
