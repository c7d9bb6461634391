"""How the language models are trained: fine-tuning, reward model, PPO and GRPO on text."""
