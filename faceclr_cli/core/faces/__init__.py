"""From a photograph to an aligned crop. No torch."""
