"""All fits of a comparison: run, timed, kept in a file, and taken from there."""
