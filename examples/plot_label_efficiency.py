"""
How many labels does transfer save?
===================================

``label_efficiency`` fits candidates on growing numbers of labels, tests them on the same images each time, and reads
off how many labels the baseline needs for the score that transfer has.
"""

# %%
# Curves
# ------
# Few images, few folds and few epochs keep this example short, and so few epochs are hard on the network that starts
# from scratch. With photographs of your own leave `cv` and `max_epochs` as they are.

from sklearn.datasets import load_digits

from sktl.label_efficiency import label_efficiency

digits = load_digits()
result = label_efficiency(
    digits.images[:150],
    digits.target[:150],
    sizes=(20, 40, 1.0),
    candidates=("pixels", "frozen", "from_scratch"),
    cv=3,
    max_epochs=8,
    value_range=(0, 16),
)
print(result)

# %%
# Labels saved
# ------------
# One answer for each number of labels, with its interval. Infinity stands for more than all that were tried.

for saved in result.labels_saved("frozen"):
    print(f"{saved.n_labels:4.0f} labels: {saved.needed:6.1f} ({saved.low:.0f} to {saved.high:.0f})  {saved.verdict}")

# %%
# The plot
# --------
# The arrow goes from the candidate to where the baseline has the same score.

display = result.plot()
display.figure_.savefig("label_efficiency.png")
