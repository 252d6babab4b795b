"""The published joiner, at the place where it is published: `worldtune join`."""

import sys

from worldtune.cli.join import launch

if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
