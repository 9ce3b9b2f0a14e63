import subprocess
import sys

import pytest

from sktl import cli


def test_the_module_runs_as_a_command_without_loading_torch():
    code = "import sys; sys.argv = ['sktl', '--help']; import runpy\n"
    code += "try: runpy.run_module('sktl', run_name='__main__')\n"
    code += "except SystemExit as stop: assert not stop.code, stop.code\n"
    code += "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_the_module_knows_its_name():
    done = subprocess.run([sys.executable, "-m", "sktl", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: sktl" in done.stdout


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_the_message_says_what_to_install(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert (
        f"needs {package}, which is not installed. Install it with: pip install 'sktl[cli]'" in capsys.readouterr().err
    )
