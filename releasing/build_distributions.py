"""Build the sdist, and from it the wheel, so that one commit gives the same bytes wherever it is built.

Run ``python releasing/build_distributions.py FOLDER``, as ``make dist`` does. What is built is what git tracks, as it
lies in the working tree. Everything is built twice, in other folders and at another time; the digests of both must be
equal. They depend on the versions of setuptools and zlib, which stand beside them.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def git(*arguments):
    """Return what a git command prints about this repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def export(folder):
    """Copy what git tracks, with permissions that do not depend on who cloned it."""
    for name in git("ls-files", "-z").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
            (folder / name).chmod(0o644)


def rewrite(sdist, when):
    """Write an sdist again, sorted, and without the owner, the times and the permissions of this machine."""
    with tarfile.open(sdist) as old:
        content = {one.name: old.extractfile(one).read() for one in old if one.isfile()}
    with (
        open(sdist, "wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=when) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for name in sorted(content):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content[name]), when
            new.addfile(member, io.BytesIO(content[name]))


def build(folder):
    """Build an sdist, and a wheel from it, into a folder; return their paths."""
    when = int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(when)}
    with tempfile.TemporaryDirectory() as source:
        export(Path(source))
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), source]
        done = subprocess.run(command, env=environment, umask=0o022, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    built = sorted(Path(folder).iterdir())
    rewrite(next(path for path in built if path.name.endswith(".tar.gz")), when)
    return built


def digest(path):
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(folder):
    """Build twice, compare, and keep one."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        built, again = build(first), build(second)
        digests = [digest(path) for path in built]
        if digests != [digest(path) for path in again]:
            sys.exit(f"Two builds must give the same bytes. Got others instead, with {sys.version}.")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(first, folder)
    changed = "" if not git("status", "--porcelain", "--untracked-files=no") else ", with changes not committed"
    print(f"commit {git('rev-parse', 'HEAD').strip()}{changed}")
    print(f"setuptools {version('setuptools')}, zlib {zlib.ZLIB_RUNTIME_VERSION}; both built twice, equal:")
    for path, found in zip(built, digests, strict=True):
        print(f"{found}  {folder}/{path.name}")


if __name__ == "__main__":
    main(sys.argv[1])
