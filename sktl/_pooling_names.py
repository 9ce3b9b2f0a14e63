"""Names of the poolings, for whatever offers or checks them without loading torch."""

__all__ = ["POOLINGS"]

POOLINGS = ("auto", "avg", "max", "avg+max", "avg+std", "gem", "pyramid", "flatten", "token")
