"""Evidently's report of a day's drift as a page, drawn when somebody opens it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from stockcast_assets.libraries import pd
from stockcast_assets.monitoring.drift import METHOD
from stockcast_assets.monitoring.series import KIND_OF


def evidently_page(reference: pd.DataFrame, current: pd.DataFrame, thresholds: Mapping[str, float]) -> str:
    """Evidently's report of the two windows as one self-contained page, about 4 MB, in about a second.

    Args:
        reference: rows of the features over the reference window (`drift.compared_windows`).
        current: those of the current window.
        thresholds: distance from which a feature counts as drifted; its keys are the features shown.
    """
    # Evidently asks for consent by environment variable, and reads it on import.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    titles = {feature: f"{KIND_OF[feature]}: {feature}" for feature in thresholds}
    columns = list(titles.values())
    definition = DataDefinition(numerical_columns=columns)
    report = Report(
        [
            DataDriftPreset(
                columns=columns,
                # As `drift_report` has it: a day drifted if any feature did. Evidently would ask for half of them.
                drift_share=1 / len(columns),
                per_column_method=dict.fromkeys(columns, METHOD),
                per_column_threshold={titles[feature]: threshold for feature, threshold in thresholds.items()},
            )
        ]
    )
    snapshot = report.run(
        *(
            Dataset.from_pandas(window[list(titles)].rename(columns=titles).reset_index(drop=True), definition)
            for window in (current, reference)
        )
    )
    text: str = snapshot.get_html_str(as_iframe=False)
    return text
