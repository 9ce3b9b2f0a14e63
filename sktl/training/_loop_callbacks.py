"""The callbacks of every training: what is told of its epochs, its last step, its end, and its learning rates."""

from skorch.callbacks import Callback


class TellEpochs(Callback):
    """Tell of each epoch, before any callback can end the training."""

    def on_epoch_begin(self, net, **kwargs):
        """Tell that an epoch begins."""
        net.told_.begin()

    def on_epoch_end(self, net, **kwargs):
        """Tell that it has ended."""
        net.told_.end(net)


class LastBatch(Callback):
    """Keep the inputs of the last step, which the network must still give finite outputs for."""

    inputs_ = None

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        """Keep the inputs of a step of training."""
        if training:
            self.inputs_ = batch[0]


class EndWhenLearnt(Callback):
    """End a training whose loss has vanished, or which is asked to end.

    AdamW would go on with steps of full size, after noise and rows of next to no weight. It raises KeyboardInterrupt,
    as skorch's EarlyStopping does.
    """

    def __init__(self, loss):
        self.loss = loss

    def on_train_begin(self, net, **kwargs):
        """Forget how a former training ended."""
        self.has_ended_ = False

    def on_epoch_end(self, net, **kwargs):
        """Look at the loss of the epoch."""
        is_learnt = self.loss is not None and net.history[-1, "train_loss"] < self.loss
        if is_learnt or net.told_.stop:
            self.has_ended_ = True
            raise KeyboardInterrupt


class Schedule(Callback):
    """Set the learning rate of each group at each step: its own rate times a factor.

    skorch's own LRScheduler counts the epochs of former trainings as steps already made.
    """

    def __init__(self, factor):
        self.factor = factor

    def on_train_begin(self, net, **kwargs):
        """Start to count."""
        self.step_, self._rates = 0, net.learning_rates()

    def on_batch_begin(self, net, training=False, **kwargs):
        """Set the rates of this step."""
        if training:
            for group, rate in zip(net.optimizer_.param_groups, self._rates, strict=True):
                group["lr"] = rate * self.factor(self.step_)
            self.step_ += 1
