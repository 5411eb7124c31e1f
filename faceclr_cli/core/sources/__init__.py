"""Sources of photos: folders in several layouts, lists of files, and archives."""
