"""Draw docs/images/report.png: parts of the page that ``sktl compare`` writes, on the photographs of a folder.

Run ``python docs/report_picture.py FOLDER [FITS.jsonl]`` with Chromium installed; FOLDER has one sub-folder per class.
Fits are kept in FITS.jsonl, and a later run takes them from there.
"""

import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageChops

PICTURE = Path(__file__).parent / "images" / "report.png"
# Nothing is trained but linear models, which takes a minute; fine-tuning and training from scratch would take hours.
CANDIDATES = ("dummy", "pixels", "frozen_random", "frozen")
SHOWN = {"The result"}  # the rest shows photographs, which belong to their set
WIDTH, HEIGHT, SCALE = 1000, 2000, 1.5  # of the window, in pixels of CSS, and pixels of the picture to each
MARGIN, MOST_BYTES, COLOURS = 16, 150_000, 64
# Of the result the table and the plots.
STYLE = """<style>
main { padding-top: 1rem } h2 { margin-top: 1.2rem } .figures ~ * { display: none }
</style></head>"""


def written_report(folder, page, fits):
    """Write the report as the command does, and return it as HTML."""
    candidates = [f"--candidates={name}" for name in CANDIDATES]
    files = ["--report", page, "--plot", page.with_suffix(".png"), "--resume", fits]
    command = ["compare", folder, *candidates, "--baseline", "frozen_random", *files]
    subprocess.run([sys.executable, "-m", "sktl", *command], check=True)
    return page.read_text(encoding="utf-8")


def shortened(html):
    """Leave out what the picture has no room for."""
    section = re.compile(r"<section>\n<h2>(.*?)</h2>.*?</section>\n?", re.DOTALL)
    html = section.sub(lambda part: part[0] if part[1] in SHOWN else "", html)
    return re.sub("<footer>.*</footer>", "", html).replace("</head>", STYLE)


def photographed(page, folder):
    """Return what Chromium shows of a page, without the empty rest of the window."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise FileNotFoundError("Chromium must be on the path. Found none. Install the package chromium.")
    shot = folder / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'user'}"]
    options += [f"--force-device-scale-factor={SCALE}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}"]
    subprocess.run([browser, *options, page.as_uri()], check=True, stderr=subprocess.DEVNULL)
    with Image.open(shot) as picture:
        picture = picture.convert("RGB")
    ground = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    left, top, right, bottom = ImageChops.difference(picture, ground).getbbox()
    return picture.crop((left - MARGIN, max(0, top - MARGIN), right + MARGIN, bottom + MARGIN))


def main(folder, fits=None):
    """Make the picture, and check that it is small."""
    with TemporaryDirectory() as name:
        scratch = Path(name)
        page = scratch / "report.html"
        page.write_text(shortened(written_report(folder, page, fits or scratch / "fits.jsonl")), encoding="utf-8")
        picture = photographed(page, scratch)
    with BytesIO() as file:
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        content = file.getvalue()
    assert len(content) <= MOST_BYTES, f"{PICTURE.name} has {len(content):,} bytes, and {MOST_BYTES:,} at most is right"
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
