"""Plots and annotated pictures."""

import logging

_NO_HOME = ("mkdir -p failed", "Matplotlib created a temporary cache directory")


def _is_useful(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_NO_HOME)


# Without a home folder that can be written, matplotlib uses a temporary folder, which is just as good.
logging.getLogger("matplotlib").addFilter(_is_useful)
