"""`python scripts/download_checkpoints.py ...`, as published: `worldtune download ...`."""

import sys

from worldtune.cli.download import launch

if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
