"""The configuration of Hugging Face's accelerate that says how a training was shared out, as a file.

For people: our own starter (`steps/workers.py`) does not read it. Pure. Limits: the embeddings, which we
leave whole, accelerate would share out too.
"""

from typing import Any

from tuneline.train.recipe import Recipe

FILE = "accelerate.yaml"


def accelerate_config(
    recipe: Recipe, *, gpu: bool, layer: str = "", address: str = "127.0.0.1", port: int = 29500
) -> dict[str, Any]:
    """As `accelerate config` would write it for the first machine.

    address, port: where rank 0 is met. gpu: whether each process has one. layer: the class of the layers
    that are shared out; empty: none are.
    """
    kind = "FSDP" if layer else "MULTI_GPU" if gpu else "MULTI_CPU"
    found: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "distributed_type": kind,
        "downcast_bf16": "no",
        "enable_cpu_affinity": False,
        "machine_rank": 0,
        "main_process_ip": address,
        "main_process_port": port,
        "main_training_function": "main",
        "mixed_precision": "no",
        "num_machines": recipe.num_machines,
        "num_processes": recipe.processes,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": not gpu,
    }
    if layer:
        found["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_transformer_layer_cls_to_wrap": layer,
            "fsdp_reshard_after_forward": True,
            "fsdp_offload_params": False,
            "fsdp_state_dict_type": "FULL_STATE_DICT",
            "fsdp_cpu_ram_efficient_loading": False,
            "fsdp_activation_checkpointing": recipe.gradient_checkpointing,
        }
    return found
