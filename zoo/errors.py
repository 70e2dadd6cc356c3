"""Every error a user can cause. Torch-free."""


class ZooError(Exception):
    """Says what was found, where, and the command or edit that mends it. The CLI prints it and exits with status 2."""


class UnknownNameError(ZooError):
    """A model, architecture, data set or preset that nothing installed offers."""


class CardError(ZooError):
    """A card or registry that cannot be read: the message carries file, line and, for a misspelt key, a suggestion."""


class PluginError(ZooError):
    """A plugin that cannot be imported, collides with another, or offers something malformed."""


class WeightsError(ZooError):
    """Weights that are not the ones the card promises: wrong hash, truncated, missing or mis-shaped tensors."""


class StructureError(ZooError):
    """A structure a model cannot take: empty, not finite, coinciding atoms, unknown elements, periodicity, charge."""


class DataError(ZooError):
    """A data set or property that is missing, malformed, or in an unknown unit."""


class TrainingError(ZooError):
    """A recipe that cannot run, or a run that cannot go on."""


class EvaluationError(ZooError):
    """Predictions that cannot be compared with references as asked."""


class CalibrationError(ZooError):
    """A model or data that no error estimate can be calibrated with."""


class ExportError(ZooError):
    """A model that cannot be exported, or an exported file that is not what its description says."""


class HubError(ZooError):
    """The Hub cannot be reached, refuses, or does not hold what was asked for."""


class MissingExtraError(ZooError):
    """An optional dependency is not installed; the message holds the exact `pip install` line."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'geometric-zoo[{extra}]'")
