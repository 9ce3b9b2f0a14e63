"""The pieces of an HTML page: everything that is put in is escaped here, and nothing is loaded from anywhere."""

from html import escape

__all__ = [
    "code",
    "definitions",
    "details",
    "figure",
    "note_list",
    "page",
    "paragraph",
    "scrolling",
    "section",
    "tiles",
]

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --card: #f6f8fa;
  --line: #d0d7de; --link: #0a58a5; --good: #0b6e4f; --bad: #a8400a; --even: #57606a; --open: #7a5b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #a9b4c0; --paper: #10151b; --card: #1a2129; --line: #38434f; --link: #78b6f5;
    --good: #5fd0a5; --bad: #ff9a5c; --even: #b3bdc8; --open: #e6c35c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.25rem 1rem 4rem; }
h1 { font-size: 1.05rem; font-weight: 600; margin: 0 0 .6rem; color: var(--soft); }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.75rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p, li { overflow-wrap: anywhere; max-width: 46rem; }
.small { font-size: .9rem; color: var(--soft); }
.verdict { margin: 0; padding: 1rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-left: .45rem solid var(--even); border-radius: .4rem; }
.verdict strong { display: block; font-size: 1.75rem; line-height: 1.2; color: var(--even); }
.verdict p { margin: .5rem 0 0; }
.good { border-left-color: var(--good); } .good strong { color: var(--good); }
.bad { border-left-color: var(--bad); } .bad strong { color: var(--bad); }
.open { border-left-color: var(--open); } .open strong { color: var(--open); }
.notes { margin: 1rem 0 0; padding: .8rem 1.1rem; background: var(--card); border: 1px solid var(--open);
  border-left-width: .45rem; border-radius: .4rem; }
.notes h2 { margin: 0 0 .4rem; padding: 0; border: 0; font-size: 1.05rem; color: var(--open); }
.notes ul { margin: 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; background: var(--paper); }
.scroll:focus-visible { outline: 3px solid var(--link); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--card); vertical-align: bottom; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
th[scope=row] { font-weight: 600; }
th[scope=row] span { display: block; width: max-content; max-width: 13rem; overflow-wrap: anywhere; }
.words, .long { text-align: left; }
td.long { white-space: normal; min-width: 9rem; overflow-wrap: anywhere; }
.figures { display: grid; gap: 1rem; align-items: start; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
figure { margin: 0; min-width: 0; }
.plot { background: #ffffff; border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; color: #1b1f24; }
section > .plot { max-width: 32rem; } .plot + .scroll { margin-top: 1rem; }
.plot img { display: block; width: 100%; max-width: 28rem; height: auto; margin: 0 auto; }
.plot figcaption { overflow-wrap: anywhere; font-size: .9rem; color: #444c56; margin: .5rem .2rem 0; }
.tiles { list-style: none; margin: 1rem 0; padding: 0; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); }
.tiles img { display: block; width: 100%; height: 10rem; object-fit: contain; background: var(--card);
  border: 1px solid var(--line); border-radius: .3rem; }
.tiles img.pixels { image-rendering: pixelated; }
.tiles figcaption { font-size: .85rem; line-height: 1.35; margin-top: .35rem; overflow-wrap: anywhere; }
.tiles .small { font-size: .8rem; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .3rem 1rem; margin: .75rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
pre { overflow-x: auto; margin: .75rem 0; padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; padding: .4rem 0; color: var(--link); }
footer { margin-top: 3rem; padding-top: .75rem; border-top: 1px solid var(--line); }
@media (max-width: 40rem) {
  dl { grid-template-columns: 1fr; gap: .1rem; } dd { margin-bottom: .5rem; }
  .wide::before { content: "More columns to the right: swipe."; display: block; position: sticky; left: 0;
    padding: .3rem .7rem; font-size: .8rem; color: var(--soft); width: max-content; }
  th[scope=row] span { max-width: 8.5rem; } .verdict strong { font-size: 1.5rem; } }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #333; --paper: #fff; --card: #fff; --line: #999; --link: #000; }
  main { max-width: none; padding: 0; } .scroll { overflow: visible; border: 0; } table { font-size: .78rem; }
  th, td { padding: .2rem .3rem; } th:first-child { position: static; }
  td, td.long { white-space: normal; min-width: 0; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  html { font-size: 80%; } .figures { grid-template-columns: 1fr 1fr; } section > .plot { max-width: 24rem; }
  figure, table, .verdict, .notes { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .tiles { grid-template-columns: repeat(4, 1fr); } summary { color: #000; } }
"""
# Nothing may be loaded or run, whatever slips into the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title, body):
    """Put the page around its content."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(heading, *parts):
    """Put a heading above some HTML; nothing at all when all of it is empty."""
    parts = tuple(part for part in parts if part)
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *parts, "</section>"]) if parts else ""


def paragraph(text, small=False):
    """Make a paragraph of plain text."""
    return f'<p class="small">{escape(text)}</p>' if small else f"<p>{escape(text)}</p>"


def note_list(heading, notes):
    """Make a box of warnings; nothing where there are none."""
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<section class="notes"><h2>{escape(heading)}</h2><ul>{items}</ul></section>'


def scrolling(caption, table):
    """Put a table into a box of its own, which scrolls where the screen is narrow."""
    kind = "scroll wide" if len(table.columns) > 4 else "scroll"
    box = f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(caption)}">'
    return f"{box}\n{table.as_html()}\n</div>"


def figure(uri, alt, caption):
    """Show a plot on white, so that it can be read in the dark as well."""
    return (
        f'<figure class="plot"><img src="{uri}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def tiles(pictures):
    """Show small pictures beside each other."""
    items = []
    for uri, pixels, alt, lines in pictures:
        kind = ' class="pixels"' if pixels else ""
        first, *rest = [escape(line) for line in lines]
        below = "".join(f'<br><span class="small">{line}</span>' for line in rest)
        items.append(
            f'<li><figure><img{kind} src="{uri}" alt="{escape(alt)}">'
            f"<figcaption>{first}{below}</figcaption></figure></li>"
        )
    return '<ul class="tiles">\n' + "\n".join(items) + "\n</ul>"


def definitions(pairs):
    """List names with what they stand for."""
    items = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)
    return f"<dl>\n{items}\n</dl>"


def code(text):
    """Show code, to be copied."""
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def details(summary, content):
    """Fold away what few will read."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"
