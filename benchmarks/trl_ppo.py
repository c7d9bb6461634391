"""TRL 1.12's PPOTrainer on models that benchmarks.message has trained. Runs in an environment of its own.

TRL dropped PPO in 1.13. Its last one is put into a folder, not into the project's environment:

    pip install --no-deps --target .churn/peers/trl-1.12 trl==1.12.0

`benchmarks.message` starts this module with that folder first on the path; by hand it needs the same. It reads
`task.json`, the models and the prompts in the folder that it is given, and leaves the policy and its seconds there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast
from trl.experimental.ppo import PPOConfig, PPOTrainer

VERSION = "1.12"


class Steered(transformers.TrainerCallback):
    """The same controller of KL's weight as ours, fed with TRL's figure: nats a text, over its tokens."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        if logs and "objective/kl" in logs:
            error = (logs["objective/kl"] / self.task["tokens"] / self.task["target_kl"] - 1) / 0.2
            args.kl_coef = max(1e-4, args.kl_coef * (1 + self.task["kl_gain"] * min(max(error, -1), 1)))


def main(folder: Path) -> None:
    if not trl.__version__.startswith(VERSION):
        sys.exit(f"found trl {trl.__version__}, expected {VERSION}: put its folder first on PYTHONPATH")
    transformers.logging.set_verbosity_error()
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    torch.set_num_threads(task["threads"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "sft") for _ in range(2))
    reward, critic = (AutoModelForSequenceClassification.from_pretrained(folder / "reward") for _ in range(2))
    prompts = Dataset.from_dict({"input_ids": [tokenizer(prompt)["input_ids"] for prompt in task["prompts"]]})
    arguments = PPOConfig(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=task["batch_size"],
        gradient_accumulation_steps=1,
        num_mini_batches=task["batch_size"] // task["mini_batch_size"],
        num_ppo_epochs=task["ppo_epochs"],
        total_episodes=task["steps"] * task["batch_size"],
        response_length=task["max_new_tokens"],
        stop_token="eos",
        temperature=1.0,
        kl_coef=task["init_beta"],
        missing_eos_penalty=task["missing_eos_penalty"],
        learning_rate=task["learning_rate"],
        lr_scheduler_type="linear",  # as ours
        adam_beta2=task["adam_beta2"],
        vf_coef=0.1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        num_sample_generations=0,
        seed=task["seed"],
        local_rollout_forward_batch_size=task["batch_size"],
        dataloader_pin_memory=False,
    )
    trainer = PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=critic,
        train_dataset=prompts,
        eval_dataset=prompts.select(range(task["batch_size"])),
        callbacks=[Steered(task)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    policy.save_pretrained(folder / "policy")
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
