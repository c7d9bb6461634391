"""The checks of `ppo_decision`: which gates run on it, and what to do when one fails."""

from churn_assets.gates.spec import CheckSpec

PPO_DECISION: tuple[CheckSpec, ...] = ()
