"""A tuning as pictures and as MLflow runs: one parent per study, a nested child per trial."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockcast_assets.charts.style import own_style
from stockcast_assets.forecasting.training.tuning import TUNED, Trial, Tuning
from stockcast_assets.libraries import np
from stockcast_assets.tracking.client import Tracking

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXPERIMENT = "stockcast-tuning"

_STUDY, _TRIAL = "stockcast.study", "stockcast.trial"
_ACCENT, _QUIET, _BASE = "#0f766e", "#9aa5b1", "#c2410c"


def charts(tuning: Tuning) -> dict[str, bytes]:
    """PNGs by name: validation loss against epochs, units and learning rate, and all parameters in parallel."""
    return {
        "loss_vs_epochs": _png(lambda axes: _against_epochs(axes, tuning)),
        "loss_vs_units": _png(lambda axes: _against(axes, tuning, "units")),
        "loss_vs_learning_rate": _png(lambda axes: _against(axes, tuning, "learning_rate")),
        "parallel_coordinates": _png(lambda axes: _parallel(axes, tuning)),
    }


def _png(draw: Callable[[Axes], None]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own_style()
    # Without pyplot: no global state, safe in the threads of a Dagster run.
    figure = Figure(figsize=(5.2, 3.0), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _against_epochs(axes: Axes, tuning: Tuning) -> None:
    for trial in tuning.trials:
        axes.plot(range(len(trial.validation)), trial.validation, color=_QUIET, linewidth=0.8)
    for trial, color, label in ((tuning.default, _BASE, "defaults"), (tuning.best, _ACCENT, "best")):
        axes.plot(range(len(trial.validation)), trial.validation, color=color, linewidth=1.8, label=label)
    axes.set(xlabel="epoch (0: the baseline's interval)", ylabel="validation pinball, in sigmas")
    axes.legend(frameon=False)


def _completed(tuning: Tuning) -> list[tuple[Trial, float]]:
    return [(trial, trial.loss) for trial in tuning.trials if trial.loss is not None]


def _against(axes: Axes, tuning: Tuning, name: str) -> None:
    completed = _completed(tuning)
    axes.scatter([trial.parameters[name] for trial, _ in completed], [loss for _, loss in completed], color=_QUIET)
    for trial, color, label in ((tuning.default, _BASE, "defaults"), (tuning.best, _ACCENT, "best")):
        loss = float("nan") if trial.loss is None else trial.loss
        axes.scatter([trial.parameters[name]], [loss], color=color, label=label, zorder=3)
    if name == "learning_rate":
        axes.set_xscale("log")
    axes.set(xlabel=name.replace("_", " "), ylabel="validation pinball")
    axes.legend(frameon=False)


def _parallel(axes: Axes, tuning: Tuning) -> None:
    """Each trial a line over its parameters and its loss, every axis scaled to what was tried."""
    names = [*TUNED, "loss"]
    completed = _completed(tuning)
    values = np.array([[*(float(trial.parameters[name]) for name in TUNED), loss] for trial, loss in completed])
    values[:, TUNED.index("learning_rate")] = np.log(values[:, TUNED.index("learning_rate")])
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1)
    for (trial, _), line in zip(completed, scaled, strict=True):
        color = {tuning.best.number: _ACCENT, tuning.default.number: _BASE}.get(trial.number, _QUIET)
        axes.plot(range(len(names)), line, color=color, linewidth=1.8 if color != _QUIET else 0.8)
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    axes.set_yticks([0, 1], ["lowest", "highest"])


def log_tuning(
    tracking: Tracking, tuning: Tuning, pictures: dict[str, bytes], parent_of: Callable[[str], str] | None = None
) -> str:
    """Record the study's parent run and a nested run of every trial that has none yet; returns the parent's link.

    Doing it again, also after a death half-way, adds only what is missing. `parent_of` gives the id of the run whose
    child the study is, for an experiment: that of the Dagster run that recorded a trial of it last.

    Raises:
        StockcastError: if MLflow cannot be reached or refuses.
    """
    from mlflow.exceptions import MlflowException

    experiment = tracking.experiment_id(EXPERIMENT)
    try:
        parent = _find(tracking, experiment, tuning.study, "parent")
        if parent is None:
            tags = {_STUDY: tuning.study, _TRIAL: "parent", "stockcast.ticker": tuning.ticker}
            parent = tracking.client.create_run(experiment, run_name=tuning.study, tags=tags).info.run_id
        _end_abandoned(tracking, experiment, tuning.study)
        logged = _logged_trials(tracking, experiment, tuning.study)
        new = [trial for trial in tuning.trials if trial.number not in logged]
        if new and parent_of is not None:
            tracking.client.set_tag(parent, "mlflow.parentRunId", parent_of(EXPERIMENT))
        for trial in new:
            _log_trial(tracking, experiment, parent, tuning, trial)
        _log_parent(tracking, parent, tuning, pictures)
    except MlflowException as error:
        raise tracking.trouble(f"log the tuning of {tuning.ticker}", error) from error
    return tracking.link(experiment, parent)


def _find(tracking: Tracking, experiment: str, study: str, trial: str) -> str | None:
    wanted = f"tags.`{_STUDY}` = '{study}' and tags.`{_TRIAL}` = '{trial}'"
    runs = tracking.client.search_runs([experiment], wanted, max_results=1)
    return runs[0].info.run_id if runs else None


def _end_abandoned(tracking: Tracking, experiment: str, study: str) -> None:
    """End the trial's run that a killed call left unfinished; its trial is recorded again."""
    wanted = f"tags.`{_STUDY}` = '{study}' and tags.`{_TRIAL}` != 'parent' and attributes.status = 'RUNNING'"
    for run in tracking.client.search_runs([experiment], wanted):
        tracking.client.set_terminated(run.info.run_id, "KILLED")


def _logged_trials(tracking: Tracking, experiment: str, study: str) -> set[int]:
    """Trials whose run was recorded in full."""
    wanted = f"tags.`{_STUDY}` = '{study}' and attributes.status = 'FINISHED'"
    found: set[int] = set()
    token = None
    while True:
        page = tracking.client.search_runs([experiment], wanted, page_token=token)
        found |= {int(run.data.tags[_TRIAL]) for run in page if run.data.tags[_TRIAL] != "parent"}
        token = page.token
        if not token:
            return found


def _log_trial(tracking: Tracking, experiment: str, parent: str, tuning: Tuning, trial: Trial) -> None:
    from mlflow.entities import Metric, Param
    from mlflow.utils.time import get_current_time_millis

    now = get_current_time_millis()
    tags = {
        "mlflow.parentRunId": parent,
        _STUDY: tuning.study,
        _TRIAL: str(trial.number),
        "stockcast.ticker": tuning.ticker,
        "stockcast.state": trial.state,
    }
    run_id = tracking.client.create_run(experiment, run_name=f"trial {trial.number}", tags=tags).info.run_id
    curves = [Metric("validation_loss", loss, now, epoch) for epoch, loss in enumerate(trial.validation)]
    curves += [Metric("train_loss", loss, now, epoch) for epoch, loss in enumerate(trial.train)]
    if trial.loss is not None:
        curves.append(Metric("validation_pinball", trial.loss, now, 0))
    params = [Param(name, str(value)) for name, value in trial.parameters.items()]
    tracking.client.log_batch(run_id, curves, params)
    tracking.client.set_terminated(run_id)


def _log_parent(tracking: Tracking, parent: str, tuning: Tuning, pictures: dict[str, bytes]) -> None:
    client = tracking.client
    measured: dict[str, Any] = {
        "trials": len(tuning.trials),
        "validation_pinball_best": tuning.best.loss,
        "validation_pinball_defaults": tuning.default.loss,
        "ratio_to_defaults": tuning.ratio,
        "ratio_to_defaults_low": tuning.low,
        "ratio_to_defaults_high": tuning.high,
        "deflated_gain": tuning.deflated_gain,
        "probability_by_luck": tuning.p_value,
    }
    for name, value in measured.items():
        client.log_metric(parent, name, float(value), step=len(tuning.trials))
    client.set_tag(parent, "mlflow.note.content", tuning.in_words())
    client.log_dict(parent, {"best": tuning.best.parameters, "fed_to_training": tuning.fed}, "best.json")
    with tempfile.TemporaryDirectory() as folder:
        for name, picture in pictures.items():
            file = Path(folder) / f"{name}.png"
            file.write_bytes(picture)
            client.log_artifact(parent, str(file))
    client.set_terminated(parent)
