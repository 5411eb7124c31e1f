"""Where photographs come from: folders in any layout, lists, and archives."""
