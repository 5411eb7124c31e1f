"""From a folder of photographs to a face encoder that can be trusted."""

__version__ = "0.1.0"
