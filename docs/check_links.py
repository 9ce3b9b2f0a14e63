"""Look for links within the built site that lead nowhere: pages, files, pictures, and places on a page."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit


class Page(HTMLParser):
    """What a page links to, and the places on it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = set(), {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        """Note the links and the names of an element."""
        for name, value in attributes:
            if name in ("href", "src") and value and not urlsplit(value).scheme and not value.startswith("//"):
                self.links.add(value)
            elif name == "id" or (name == "name" and tag == "a"):
                self.places.add(value)


def broken_links(site):
    """Yield "page: link" for every link within a folder of HTML that leads nowhere."""
    files = (path.resolve() for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)
    pages = {path: Page(path) for path in files}
    for path, page in pages.items():
        for link in sorted(page.links):
            address, place = urldefrag(link.partition("#:~:")[0])
            target = (path.parent / unquote(address.partition("?")[0])).resolve() if address else path
            known = pages.get(target)
            if not target.exists() or (known and unquote(place) not in known.places):
                yield f"{path.relative_to(site.resolve())}: {link}"


if __name__ == "__main__":
    broken = list(broken_links(Path(sys.argv[1])))
    print(*broken, sep="\n", end="\n" if broken else "")
    sys.exit(f"{len(broken)} links lead nowhere." if broken else 0)
