"""The decision: environment, exact optimum, PPO, baselines and off-policy evaluation of `ppo_decision`."""
