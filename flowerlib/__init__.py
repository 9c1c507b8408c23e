"""The flower experiments: splits, models, schedules, metrics, and the way from a recipe to a report."""

__version__ = "0.1.0"
