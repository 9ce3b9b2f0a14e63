"""The Python that runs a comparison again, given the same images and labels."""

__all__ = ["code_to_run_again"]


def code_to_run_again(comparison, last="", *, result="comparison"):
    """Write the Python that calls a function again where `X` and `y` are the same images and labels.

    The second value lists the names in it that stand for objects of the user. A call of another function is recorded
    with its name, and with how the comparison, where that is wanted, is got from what it returns.
    """
    call = comparison.settings.get("call", {})
    function, part = call.get("function", "compare_transfer"), call.get("part", "")
    part = part if result == "comparison" else ""
    imports = {function: "sktl", **call.get("imports", {})}
    lines = [f"    {name}={text}," for name, text in call.get("arguments", {}).items()]
    code = [*sorted(f"from {module} import {name}" for name, module in imports.items()), ""]
    code += [f"{result} = {function}(", "    X,", "    y,", *lines, f"){part}", f"print({result})", last]
    return "\n".join(code).rstrip(), call.get("needed", [])
