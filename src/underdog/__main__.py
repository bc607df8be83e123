"""``python -m underdog``."""

import sys

from underdog.cli import main

if __name__ == "__main__":
    sys.exit(main())
