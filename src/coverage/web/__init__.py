"""The coverage map's own script and styles, written into every map file."""
