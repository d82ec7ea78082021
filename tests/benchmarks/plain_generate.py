# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and transformers are in the trainers' environment, where no type checker runs.
"""Plain `generate` of transformers in one process: what a server's speed is beside.

    python tests/benchmarks/plain_generate.py MODEL DEVICE THREADS

Runs under the trainers' Python; imports nothing of agentlab. Each line on stdin asks for
completions, `{"prompts": [[id, …], …], "new": N, "batch": N}` with prompts of one length; each is
answered by a line `{"seconds": S, "processor_seconds": S, "ids": [[id, …], …]}` on stdout.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    """Answer until stdin ends."""
    folder, device, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    )
    model = model.to(device).eval()
    # Replies have the length that is asked for, as those of a server that ignores their end.
    model.generation_config.eos_token_id = None
    for line in sys.stdin:
        asked = cast("dict[str, Any]", json.loads(line))
        began, worked = time.monotonic(), time.process_time()
        ids: list[list[int]] = []
        prompts = cast("list[list[int]]", asked["prompts"])
        for at in range(0, len(prompts), asked["batch"]):
            ids += replies(model, prompts[at : at + asked["batch"]], asked["new"], device)
        told = {
            "seconds": time.monotonic() - began,
            "processor_seconds": time.process_time() - worked,
            "ids": ids,
        }
        print(json.dumps(told), flush=True)


def replies(model: Any, prompts: list[list[int]], new: int, device: str) -> list[list[int]]:
    """Greedy completions of one batch."""
    given = torch.tensor(prompts, device=device)
    with torch.no_grad():
        made = model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=new,
            do_sample=False,
        )
    # Reading the ids waits for the device.
    return cast("list[list[int]]", made[:, given.shape[1] :].tolist())


if __name__ == "__main__":
    main()
