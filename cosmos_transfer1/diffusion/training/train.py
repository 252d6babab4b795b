"""The published launcher, at the place where it is published: `worldtune train ...`."""

import sys

from worldtune.cli.train import launch

if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
