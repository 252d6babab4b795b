"""`python -m worldtune`, and `torchrun ... -m worldtune train ...` for several processes."""

from worldtune.cli.main import main

if __name__ == "__main__":
    main()
