"""Closed, full and deserted streams: the work is done, the exit code is right, and Python complains of nothing."""

import errno
import io
import os
import subprocess
import sys

import pytest

from sktl.cli import _streams

pytestmark = pytest.mark.skipif(os.name != "posix", reason="streams are closed by a POSIX shell")

SKTL = [sys.executable, "-m", "sktl"]


def shell(line, **options):
    return subprocess.run(["sh", "-c", line, "sh", *SKTL], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    ("line", "code", "printed"),
    [
        ('"$@" cache path 2>&-', 0, True),
        ('"$@" cache path >&-', 0, False),
        ('"$@" cache path <&- 2>&- >&-', 0, False),
        ('"$@" cache info --folder /dev/null/none 2>&-', 0, True),
        ('"$@" cache nothing 2>&-', 2, False),
        ('"$@" embed /nowhere -o x.csv 2>&-', 1, False),
        ('"$@" cache path 2>/dev/full', 0, True),
    ],
)
def test_the_exit_code_does_not_depend_on_who_listens(tmp_path, line, code, printed):
    done = shell(line, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, "")
    assert bool(done.stdout) == printed


def test_an_output_that_could_not_be_written_is_an_error():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    done = shell('"$@" cache path >/dev/full')
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the output could not be written")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_gone_is_nothing_to_complain_of():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*SKTL, "cache", "path"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_files_do_not_get_the_numbers_of_closed_streams(tmp_path):
    code = (
        "import os, sys\n"
        "from sktl.cli._streams import sound_streams\n"
        "with sound_streams(), open('table', 'w') as file:\n"
        "    print('for people', file=sys.stderr)\n"
        "    os.write(2, b'from a library')\n"
        "    file.write('numbers')\n"
        "    assert file.fileno() > 2"
    )
    done = subprocess.run(["sh", "-c", '"$@" 2>&- <&-', "sh", sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "table").read_text() == "numbers"


def test_work_goes_on_when_nobody_reads_what_is_said(monkeypatch):
    read, write = os.pipe()
    with open(write, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        os.close(read)
        with _streams.sound_streams():
            for _ in range(3):
                print("one more", file=sys.stderr)
        assert sys.stderr is stream


class Broken(io.StringIO):
    """A stream that takes nothing, and has no number."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error


def test_a_full_disk_ends_with_a_message_and_code_1(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended, _streams.sound_streams():
        monkeypatch.setattr(sys, "stdout", Broken(OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.undo()
    assert ended.value.code == 1
    assert "Error: the output could not be written: [Errno 28] No space left" in capsys.readouterr().err


def test_a_reader_that_has_gone_ends_the_lines_without_a_word(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))
    assert not _streams.is_read("a line")
    with pytest.raises(SystemExit) as ended, _streams.sound_streams():
        print("more")
    monkeypatch.undo()
    assert ended.value.code == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_is_said_into_a_stream_that_python_found_closed_goes_nowhere(monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    with _streams.sound_streams():
        print("nobody reads this", file=getattr(sys, name))
    getattr(sys, name).close()


@pytest.mark.parametrize("with_table", [False, True])
def test_a_table_is_written_whole_though_nobody_reads_the_lines(
    run_sktl, models, photos, tmp_path, monkeypatch, with_table
):
    shown = []
    monkeypatch.setattr("sktl.cli._predict.is_read", lambda line: shown.append(line) or len(shown) < 3)
    options = ["--csv", tmp_path / "table.csv"] if with_table else []
    result = run_sktl("predict", models["frozen"], photos, *options)
    assert (result.exit_code, len(shown)) == (1, 3)
    if with_table:
        assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + 20
