"""How many labels transfer saves."""
