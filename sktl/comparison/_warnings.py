"""The warnings of a comparison."""

__all__ = ["CandidateFailedWarning", "NearDuplicatesWarning", "ResumeWarning"]


class CandidateFailedWarning(UserWarning):
    """A candidate failed and was left out of the comparison."""


class NearDuplicatesWarning(UserWarning):
    """Near copies of one image lie on both sides of a split, so every candidate looks better than it is."""


class ResumeWarning(UserWarning):
    """A file of finished fits cannot be read in part, cannot be written to, or will not be of use to a candidate."""
