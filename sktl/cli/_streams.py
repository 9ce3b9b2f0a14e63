"""Standard streams that may be closed, full, or have lost their reader: work does not end for want of a listener."""

import io
import os
import sys
from contextlib import contextmanager, redirect_stderr

__all__ = ["is_read", "sound_streams"]


@contextmanager
def sound_streams():
    """Run a command with all three streams, and see to it that what it printed has arrived at the end."""
    _fill_gaps()
    for stream in (sys.stdout, sys.stderr):
        # Names of files may have letters that the encoding of a terminal or pipe lacks.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    with redirect_stderr(_Patient(sys.stderr)):
        try:
            with _delivered():
                yield
        finally:
            with _delivered():
                sys.stdout.flush()


def _fill_gaps():
    """Take the place of closed streams: else the next file that is opened gets their number, and what is said."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the least number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


class _Patient:
    """A stream for people, without whom the work goes on."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody listens, or the stream was closed meanwhile
            _silence(self._stream)
        return len(text)

    def flush(self):
        """Do nothing: what is written is flushed."""


def is_read(line):
    """Print a line on stdout; return whether anybody is there to read on, unlike behind `head`."""
    try:
        print(line)
    except BrokenPipeError:
        _silence(sys.stdout)
        return False
    return True


@contextmanager
def _delivered():
    """Make of what could not be printed a message and the exit code 1."""
    try:
        yield
    except OSError as error:
        _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # whoever has stopped reading knows it
            print(f"Error: the output could not be written: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _silence(stream):
    """Let what is still in the buffer of a stream go nowhere, or else Python complains when it ends."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
