"""Places in the configurations of trainers that are not installed here, as they publish them."""

from __future__ import annotations

VERL = frozenset(
    """
    checkpoint.load_contents checkpoint.save_contents data.apply_chat_template_kwargs
    data.balance_dp_token data.custom_cls.name data.custom_cls.path data.enable_thinking_default
    data.enable_thinking_key data.ignore_input_ids_mismatch data.max_length
    data.max_token_len_per_gpu data.messages_key data.micro_batch_size_per_gpu data.num_workers
    data.pad_mode data.tools_key data.train_batch_size data.train_files data.train_max_samples
    data.truncation data.use_dynamic_bsz data.use_shm data.val_files data.val_max_samples
    engine.dtype engine.fsdp_size engine.full_determinism engine.model_dtype engine.param_offload
    engine.seed engine.strategy engine.use_torch_compile model.enable_gradient_checkpointing
    model.exclude_modules model.lora_adapter_path model.lora_alpha model.lora_rank model.path
    model.target_modules model.tokenizer_path model.trust_remote_code model.use_liger
    model.use_remove_padding optim.betas optim.clip_grad optim.lr optim.lr_scheduler_type
    optim.lr_warmup_steps optim.lr_warmup_steps_ratio optim.min_lr_ratio optim.optimizer
    optim.total_training_steps optim.weight_decay trainer.balance_batch trainer.default_hdfs_dir
    trainer.default_local_dir trainer.device trainer.experiment_name trainer.logger
    trainer.max_ckpt_to_keep trainer.n_gpus_per_node trainer.nnodes trainer.project_name
    trainer.resume_from_path trainer.resume_mode trainer.save_freq trainer.seed trainer.test_freq
    trainer.total_epochs trainer.total_training_steps
    """.split()
)
"""Of verl 0.9.1's wheel: `sft_trainer_engine.yaml` with `model/hf_model`, `optim/fsdp` and
`engine/fsdp`. Not all of them."""

PRIME: dict[str, dict[str, type | tuple[type, ...]]] = {
    "": {"max_steps": int, "output_dir": str, "clean_output_dir": bool, "dry_run": bool},
    "model": {"name": str, "seq_len": int, "trust_remote_code": bool, "optimization_dtype": str},
    "model.lora": {"rank": int, "alpha": float, "dropout": float},
    "data": {
        **{"type": str, "name": str, "seq_len": int, "batch_size": int},
        **{"micro_batch_size": int, "seed": int, "shuffle": bool, "pack_function": str},
    },
    "data.loss_mask": {"system": bool, "user": bool, "assistant": bool, "tool": bool},
    "optim": {"type": str, "lr": float, "weight_decay": float, "max_norm": float},
    "scheduler": {"type": str, "warmup_steps": int, "decay_steps": int, "min_lr": float},
    "ckpt": {"interval": int},
    "ckpt.weights": {"save_sharded": bool, "save_format": str, "save_adapter_separately": bool},
}
"""Of prime-rl's `configs/sft.py` and `configs/trainer.py`, which forbid what they do not know."""
