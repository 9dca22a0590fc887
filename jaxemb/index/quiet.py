"""Libraries in C++ that write their notes straight to standard error, and have no switch for it."""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def quiet(notes: re.Pattern[bytes]) -> Iterator[None]:
    """Keep lines that begin so off standard error, and let through all else that is written there meanwhile."""
    with _one_at_a_time, tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            kept.seek(0)
            for line in kept:
                if not notes.match(line):
                    os.write(real, line)
            os.close(real)
