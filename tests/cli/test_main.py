import io
import os
import subprocess
import sys

import pytest

from sktl import cli


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_the_message_says_what_to_install(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert (
        f"needs {package}, which is not installed. Install it with: pip install 'sktl[cli]'" in capsys.readouterr().err
    )


@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_letters_that_the_encoding_lacks_are_spelt_out_unless_the_user_has_chosen(models, photos, tmp_path, errors):
    path = tmp_path / "\u65e5\u672c.png"
    path.write_bytes(next(photos.rglob("*.png")).read_bytes())
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors=errors) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sktl", "predict", str(models["frozen"]), str(path), str(photos / "ants")])
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    printed, said = (stream.buffer.getvalue().decode("cp1252") for stream in streams if not stream.flush())
    assert (stop.value.code or 0, said) == (0, "")
    assert len(printed.splitlines()) == 11
    assert ("\\u65e5\\u672c.png\t" if errors == "strict" else "??.png\t") in printed


@pytest.mark.slow
def test_the_encoding_of_the_process_may_lack_letters(models, tmp_path):
    (tmp_path / "\u65e5\u672c.png").touch()
    command = [sys.executable, "-m", "sktl", "predict", models["frozen"], tmp_path]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252:strict"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert b"\\u65e5\\u672c.png' cannot be read" in done.stderr
    assert b"Traceback" not in done.stderr
