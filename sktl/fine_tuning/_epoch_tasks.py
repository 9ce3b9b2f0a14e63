"""The tasks that scikit-learn's callbacks follow: `fit`, and each epoch of it."""

from sktl.inference import StoreInfo


class EpochTasks:
    """Tells scikit-learn's callbacks of each epoch, and what the estimator were if `fit` had ended there.

    With a scikit-learn that has no callbacks, before 1.9, it does nothing.
    """

    def __init__(self, estimator, X, y, sample_weight):
        self._estimator = estimator
        self._data = {"X": X, "y": y}
        self._data["metadata"] = None if sample_weight is None else {"sample_weight": sample_weight}
        self._fit = self._epoch = None
        self.stop = False  # whether a callback has asked for the end

    def begin_fit(self, n_epochs):
        """Tell that a fit of so many epochs at most begins."""
        if hasattr(self._estimator, "_init_callback_context"):
            self._fit = self._estimator._init_callback_context(max_subtasks=n_epochs)
            self._fit.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin(self):
        """Tell that an epoch begins."""
        if self._fit is not None:
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def end(self, net):
        """Tell that an epoch has ended."""
        if self._fit is not None:
            self.stop = self._end(self._epoch, net)

    def end_fit(self):
        """Tell that the fit has ended."""
        if self._fit is not None:
            self._end(self._fit, self._estimator.net_)

    def _end(self, task, net):
        def fitted():
            """Return what a shallow copy, which is made as a pickle is, needs to predict."""
            net.module_.eval()
            kept = {name: getattr(self._estimator, name) for name in ("_record", "backbone_")}
            return {"net_": net, "store_info_": StoreInfo(), **kept}

        return task.call_on_fit_task_end(estimator=self._estimator, reconstruction_attributes=fitted, **self._data)
