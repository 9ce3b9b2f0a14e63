"""
Was transfer worth it?
======================

``compare_transfer`` fits candidates with and without pretrained weights on the same folds, and says what the
differences are worth.
"""

# %%
# The comparison
# --------------
# Few images, few folds and few epochs keep this example short. With your own photographs leave `cv` and `max_epochs` as
# they are.

from sklearn.datasets import load_digits

from sktl import compare_transfer

digits = load_digits()
comparison = compare_transfer(
    digits.images[:90], digits.target[:90], cv=3, max_epochs=4, value_range=(0, 16), random_state=0
)
print(comparison)

# %%
# An interruption does no harm
# ----------------------------
# With ``resume=`` every finished fit is kept in a file. The same call again takes all of them from there: the same
# table, and nothing is fitted. A candidate that joins later is all that is left to do.

options = {"baseline": "dummy", "cv": 3, "resume": "fits.jsonl", "verbose": 1}
compare_transfer(digits.images[:90], digits.target[:90], candidates=["dummy", "pixels"], **options)
more = compare_transfer(digits.images[:90], digits.target[:90], candidates=["dummy", "pixels", "frozen"], **options)
print(more.verdict)

# %%
# The numbers behind it
# ---------------------
# One row per fit, with its seed. (This and the plot need the extras ``frame`` and ``plot``.)

print(comparison.frame().head())

# %%
# The plot
# --------
# Every fold is a point. The grey band on the right is the region of practical equivalence.

display = comparison.plot()
display.figure_.savefig("comparison.png")
