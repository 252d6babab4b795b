"""What every test may count on."""

import os

# Set before torch is imported anywhere: no test may reach for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
