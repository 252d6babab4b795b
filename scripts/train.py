"""`python -m scripts.train ...`, as the published commands write it: `worldtune train ...`."""

import sys

from worldtune.cli.train import launch

if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
