"""What an adapter may hold, whoever is about to load it.

peft loads tensors by name over whatever bears that name, and some settings let it change the base
model or import what a folder names. Neither belongs into an adapter that was trained here. Needs
nothing but the standard library: the local server looks with it under the trainers' Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

OWN = re.compile(
    r"base_model\.model\..+\.lora_(A\.weight|B\.weight|embedding_A|embedding_B|"
    r"magnitude_vector(\.weight)?)"
)
"""Names of tensors that are an adapter's own. peft loads any other name over what it finds under
it: the base model's weights, or another adapter's."""
PLAIN: Mapping[str, tuple[object, ...]] = {
    "init_lora_weights": (None, True, False, "gaussian"),
    "bias": (None, "none"),
    "layer_replication": (None, []),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "megatron_config": (None,),
}
"""Settings with which peft changes the base model, or imports what a folder names; and their
values with which it does not."""


def why_not(settings: object, tensors: Iterable[str]) -> str | None:
    """Why an adapter is not to be loaded, as the rest of a sentence about it; None where it is.

    Args:
        settings: of `adapter_config.json`.
        tensors: names in its safetensors file.
    """
    told: Mapping[str, object] = {}
    if isinstance(settings, dict):
        told = cast("Mapping[str, object]", settings)
    if told.get("peft_type") != "LORA":
        return "is no LoRA; only LoRA can be loaded"
    for setting, harmless in PLAIN.items():
        if told.get(setting) not in harmless:
            return (
                f"sets {setting!r}, with which it would change the base model under everybody "
                "who asks it; train it without"
            )
    for tensor in tensors:
        if not OWN.fullmatch(tensor):
            return (
                f"holds {tensor[:200]!r}, which is no weight of a LoRA adapter and would be loaded "
                "over somebody else's"
            )
    return None
