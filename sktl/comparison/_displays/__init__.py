"""The plots of a comparison, one file each. They hold numbers; matplotlib is needed only while drawing."""
