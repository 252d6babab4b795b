"""`python scripts/convert_ckpt_fsdp_to_tp.py FILE`, as published: `worldtune split FILE`."""

import sys

from worldtune.cli.split import launch

if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
