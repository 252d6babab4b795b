"""Imported by the fork server of the loader's workers, and by nothing else.

It imports what every worker needs, once. Where a cluster sends SIGTERM to all processes of a job,
the server must not end: its end would look to the workers like that of the run, which is still
finishing its step.
"""

import signal

import worldtune.data.workers  # noqa: F401  imported for the workers that are forked from here

signal.signal(signal.SIGTERM, signal.SIG_IGN)
