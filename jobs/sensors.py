"""All sensors together, in the order in which they are shown. All are off until somebody starts them."""

from collections.abc import Mapping, Sequence

import dagster as dg

from churn_assets.release.evidence import Required
from jobs.alerting import alerting
from jobs.channels import channel_sensors
from jobs.retraining import retraining

INTERVAL = 30
"""Least seconds between two ticks of a sensor."""


def sensors(
    flow: Mapping[str, Sequence[str]],
    required: Required,
    acts: Sequence[dg.JobDefinition],
    interval: int = INTERVAL,
) -> list[dg.SensorDefinition]:
    """The sensors.

    Args:
        flow: Asset to the assets that it is made from.
        required: Checks that each asset needs.
        acts: The jobs that move a channel.
        interval: Least seconds between two ticks.
    """
    return [
        *retraining(flow, required, interval),
        *channel_sensors(flow, required, {job.name: job for job in acts}, interval),
        alerting(flow, interval),
    ]
