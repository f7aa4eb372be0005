"""MLflow; `MLFLOW_TRACKING_URI` says where its server or folder is."""

from typing import TYPE_CHECKING, Any, ClassVar

from goalsight.base.trackers.contract import PROJECT, About

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TAG = "goalsight_run"  # finds a run again when it goes on
LONGEST = 250  # characters of a parameter
STATUSES = {"finished": "FINISHED", "interrupted": "KILLED"}  # all else is FAILED


class MLflow:
    """Hands on to the client `mlflow`."""

    package: ClassVar[str] = "mlflow"
    install: ClassVar[str] = "mlflow"

    def __init__(self, about: About) -> None:
        import mlflow

        self._client = mlflow
        mlflow.set_experiment(PROJECT)
        found = mlflow.search_runs(filter_string=f"tags.{TAG} = '{about.id}'", output_format="list")
        if found:
            mlflow.start_run(run_id=found[0].info.run_id)
            return
        mlflow.start_run(run_name=about.name, tags={TAG: about.id, "kind": about.kind})
        mlflow.log_params({name: str(value)[:LONGEST] for name, value in _flat(about.config).items()})

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log numbers."""
        self._client.log_metrics(values, step=step)

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> None:
        """Log a picture."""
        self._client.log_image(image, key=name, step=step)

    def finish(self, status: str) -> None:
        """End the run."""
        self._client.end_run(status=STATUSES.get(status, "FAILED"))


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Entries of dictionaries in dictionaries, named as in "env.camera"."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
