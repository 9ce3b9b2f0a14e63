"""Names of public objects in these pages, which become links to their pages."""

import re
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
            target = f"{NAMES[found[1]]}{found[2]}"
            options = {"refdomain": "py", "reftype": "obj", "reftarget": target, "refwarn": False, "refdoc": page}
            literal.replace_self(pending_xref("", literal.deepcopy(), refexplicit=True, **options))


def _is_within(node, kinds):
    """Return whether a node, or any that it is in, is of these kinds or of another link."""
    while node is not None:
        if isinstance(node, kinds) or node.tagname in ("download_reference", "desc_signature"):
            return True
        node = node.parent
    return False


def resolve_short_names(app, env, node, content):
    """Find `name` in whatever room it lives, and `name.member` on its page where the member has no place of its own."""
    parts = node["reftarget"].split(".")
    places = [place for place, part in enumerate(parts) if part in NAMES]
    if node.get("refdomain") != "py" or not places or (places[-1] and parts[0] != "sktl"):
        return None
    name, domain = NAMES[parts[places[-1]]], env.get_domain("py")
    targets = [".".join([name, *parts[places[-1] + 1 :]]), name]
    options = env, node["refdoc"], app.builder, "obj"
    found = (domain.resolve_xref(*options, target, node, content) for target in targets)
    return next(filter(None, found), None)


def own_members(app, what, name, value, skip, options):
    """Leave out of a class page what scikit-learn and skorch document, but for what their users look for."""
    if what != "class" or skip or name.startswith("_"):
        return None
    function = getattr(value, "fget", getattr(value, "__func__", value))
    module = getattr(function, "__module__", None) or ""
    known = {"fit_predict", "fit_transform", "get_params", "score", "set_params"}
    return None if module.startswith("sktl") or (module.startswith("sklearn") and name in known) else True
