"""All sensors together, in the order in which they are shown. All are off until somebody starts them."""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from churn_assets.release.evidence import Required
from jobs.alerting import alerting
from jobs.channels import channel_sensors
from jobs.retraining import retraining
from jobs.trials import trial_sensors

INTERVAL = 30
"""Least seconds between two ticks of a sensor."""


def sensors(
    flow: Mapping[str, Sequence[str]],
    required: Required,
    interval: int = INTERVAL,
    *,
    known: Collection[str],
) -> list[dg.SensorDefinition]:
    """The sensors.

    Args:
        flow: Asset to the assets that it is made from.
        required: Checks that each asset needs.
        interval: Least seconds between two ticks.
        known: Experiments that are partitions.
    """
    return [
        *retraining(flow, required, interval, known),
        *channel_sensors(flow, required, interval),
        *trial_sensors(flow, required, interval),
        alerting(flow, required, interval, known),
    ]
