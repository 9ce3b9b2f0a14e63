"""Names of public objects in these pages, which become links to their pages."""

import re
from importlib import import_module
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform

_API = (Path(__file__).parent / "api.md").read_text(encoding="utf-8")


# Room → the names in its tables in api.md, and each name → its full name.
ROOMS: dict[str, list[str]] = {}
for _module, _rows in re.findall(r"^\.\. currentmodule:: (\S+)\n(.*?)^```", _API, re.MULTILINE | re.DOTALL):
    ROOMS.setdefault(_module, []).extend(re.findall(r"^    (\w+)$", _rows, re.MULTILINE))
NAMES = {name: f"{module}.{name}" for module, found in ROOMS.items() for name in found}


class LinkNames(SphinxTransform):
    """Make links of `name`, `name(…)` and `name.member` in code, wherever they lead nowhere yet."""

    default_priority = 500

    def apply(self, **kwargs):
        """Wrap the literals of a page."""
        page = self.env.docname
        for literal in list(self.document.findall(nodes.literal)):
            found = re.match(r"(\w+)((?:\.\w+)*)(?:\(|$)", literal.astext())
            inside = (nodes.reference, pending_xref, nodes.title, nodes.term)
            if not found or found[1] not in NAMES or page == f"api/{found[1]}" or _is_within(literal, inside):
                continue
            target = NAMES[found[1]] + (found[2] if _is_documented(NAMES[found[1]], found[2][1:]) else "")
            options = {"refdomain": "py", "reftype": "obj", "reftarget": target, "refwarn": False, "refdoc": page}
            literal.replace_self(pending_xref("", literal.deepcopy(), refexplicit=True, **options))


def _is_within(node, kinds):
    """Return whether a node, or any that it is in, is of these kinds or of another link."""
    while node is not None:
        if isinstance(node, kinds) or node.tagname in ("download_reference", "desc_signature"):
            return True
        node = node.parent
    return False


def _is_documented(name, member):
    module, _, attribute = name.rpartition(".")
    return bool(member) and hasattr(getattr(import_module(module), attribute), member)


def own_members(app, what, name, value, skip, options):
    """Leave out of a class page what scikit-learn and skorch document, but for what their users look for."""
    if what != "class" or skip or name.startswith("_"):
        return None
    function = getattr(value, "fget", getattr(value, "__func__", value))
    module = getattr(function, "__module__", None) or ""
    known = {"fit_predict", "fit_transform", "get_params", "score", "set_params"}
    return None if module.startswith("sktl") or (module.startswith("sklearn") and name in known) else True
