"""``python -m sktl`` is the command ``sktl``."""

from sktl.cli import main

if __name__ == "__main__":
    main()
