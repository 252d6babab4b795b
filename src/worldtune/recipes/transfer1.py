"""The root of Transfer1: control branches for one camera of a car, for several, and for clips."""

from dataclasses import replace

from worldtune.config.root import Group, Root
from worldtune.config.transfer1 import Transfer1Recipe
from worldtune.config.transfer1_notices import notices_of
from worldtune.config.tree import Tree
from worldtune.recipes import control_tables
from worldtune.recipes.control_experiments import Tables, check_tables, control_experiments
from worldtune.recipes.networks import TRANSFER1_7B, TRANSFER1_TINY
from worldtune.recipes.options import EVERY_STEP, LAMBDALINEAR

TABLES_FILE = "cosmos_transfer1/diffusion/config/training/experiment/ctrl_7b_tp_sample_av.py"
"""Where the documents say "edit as needed", from the repository's root."""
TOKENIZER_FOLDER = "${checkpoint.weights_dir}/nvidia/Cosmos-Tokenize1-CV8x8x8-720p"
TOKENIZERS: dict[str, Tree] = {
    "cosmos_diffusion_tokenizer_res720_comp8x8x8_t121_ver092624": {
        "kind": "cosmos",
        "enc_fp": f"{TOKENIZER_FOLDER}/encoder.jit",
        "dec_fp": f"{TOKENIZER_FOLDER}/decoder.jit",
        "mean_std_fp": f"{TOKENIZER_FOLDER}/mean_std.pt",
        "temporal_compression_factor": 8,
    },
    **{
        name: {"kind": "builtin", "temporal_compression_factor": 4}
        for name in ("builtin", "debug_tokenizer")
    },
}
OPTIMIZERS: dict[str, Tree] = {
    "fusedadamw": {"lr": 1e-4, "weight_decay": 0.3, "betas": [0.9, 0.999], "eps": 1e-8}
}
TOLD = "the network's own settings say what it is told"
CONDITIONERS: dict[str, Tree] = {
    name: {}
    for name in (
        "ctrlnet_add_fps_image_size_padding_mask",
        "view_cond_ctrlnet_add_fps_image_size_padding_mask",
    )
}
NO_CONTROL = (
    "a branch and its base are told captions, frame rate, padding and given frames: choose "
    "ctrlnet_add_fps_image_size_padding_mask"
)
LAYOUTS = ("fsdp", "multi_rank", "tp", "fast_tp")


def transfer1_root(tables: Tables) -> Root:
    """The root with the experiments and the controls of the tables."""
    experiments = control_experiments(tables)
    controls = [f"control_input_{name}" for name in tables.controls]
    return Root(
        name="transfer1",
        schema=Transfer1Recipe,
        summary="Transfer1: control branches for one camera of a car, for several and for clips, "
        "7B and a tiny model for a CPU",
        values={
            "job": {"project": "cosmos_transfer1"},
            "trainer": {"logging_iter": 10, "validation_iter": 100},
        },
        groups=(
            Group("data_train", "dataloader_train", _clips("train", controls)),
            Group("data_val", "dataloader_val", _clips("val", controls)),
            Group("optimizer", "optimizer", OPTIMIZERS, default="fusedadamw"),
            Group("scheduler", "scheduler", {"lambdalinear": LAMBDALINEAR}, default="lambdalinear"),
            Group("callbacks", "trainer.callbacks", _callbacks(), default="basic"),
            Group("net", "model.net", _networks("faditv2_7b"), default="faditv2_7b"),
            Group(
                "net_ctrl",
                "model.net_ctrl",
                _networks("faditv2_7b", "faditv2_sv2mv"),
                default="faditv2_7b",
            ),
            Group("hint_key", "model", _hints(controls), default=controls[0] if controls else None),
            Group(
                "conditioner",
                "model.conditioner",
                CONDITIONERS,
                unsupported={
                    name: NO_CONTROL
                    for name in (
                        "basic",
                        "add_fps_image_size_padding_mask",
                        "video_cond",
                        "ctrlnet",
                    )
                },
                inert=dict.fromkeys(CONDITIONERS, TOLD),
            ),
            Group("ema", "model.ema", {"power": {"enabled": True, "rate": 0.1}}, default="power"),
            Group("checkpoint", "checkpoint", {"local": {"save_iter": 1000}}, default="local"),
            Group(
                "ckpt_klass",
                "checkpoint",
                {name: {"type": name} for name in LAYOUTS},
                default="multi_rank",
            ),
            Group("tokenizer", "model.tokenizer", TOKENIZERS, default=next(iter(TOKENIZERS))),
        ),
        experiments=experiments,
        config_paths=("cosmos_transfer1/diffusion/config/config_train.py", TABLES_FILE),
        output_root_variable="OUTPUT_ROOT",
        notices=notices_of,
        targets=TARGETS,
        remarks=_remarks(tables),
    )


def _clips(part: str, controls: list[str]) -> dict[str, Tree]:
    return {
        f"example_transfer_{part}_data_{control}": {
            "dataset": {"dataset_dir": "datasets/hdvila", "hint_key": control}
        }
        for control in controls
    }


def _callbacks() -> dict[str, Tree]:
    return {"basic": {**EVERY_STEP, "progress_bar": {}}}


def _networks(*published: str) -> dict[str, Tree]:
    return {**dict.fromkeys(published, TRANSFER1_7B), "tiny_fa": TRANSFER1_TINY}


def _hints(controls: list[str]) -> dict[str, Tree]:
    return {
        f"{control}{ending}": {"hint_key": {"hint_key": control, "grayscale": bool(ending)}}
        for ending in ("", "_grayscale")
        for control in controls
    }


def _remarks(tables: Tables) -> tuple[str, ...]:
    if tables.file is None:
        return ()
    return (f"the experiments are those of {tables.file}, which was changed",)


TARGETS: dict[str, tuple[str, ...]] = {
    "model_obj": (
        "VideoDiffusionModelWithCtrl",
        "ShortVideoDiffusionModelWithCtrl",
        "MultiVideoDiffusionModelWithCtrl",
        "FSDPMultiVideoDiffusionModelWithCtrl",
    ),
    "model.net": ("GeneralDIT", "VideoExtendGeneralDIT"),
    "model.net_ctrl": ("GeneralDITEncoder", "GeneralDITMulticamEncoder"),
    "model.tokenizer": ("VideoJITTokenizer",),
    "model.sde": ("EDMSDE",),
    "model.conditioner": (
        "VideoConditionerWithCtrl",
        "ViewConditionedVideoConditionerWithCtrl",
    ),
    "dataloader_*": ("DataLoader",),
    "dataloader_*.dataset": ("ExampleTransferDataset", "AVTransferDataset"),
    "dataloader_*.sampler": ("DistributedSampler", "get_sampler"),
    "optimizer": ("get_base_optimizer",),
    "scheduler": ("LambdaLinearScheduler",),
    "trainer.callbacks.low_prec": ("LowPrecisionCallback",),
    "trainer.callbacks.iter_speed": ("IterSpeed",),
    "trainer.callbacks.grad_clip": ("GradClip",),
    "trainer.callbacks.progress_bar": ("ProgressBarCallback",),
}

PACKAGED = check_tables(vars(control_tables))
TRANSFER1 = transfer1_root(PACKAGED)


def is_as_packaged(tables: Tables) -> bool:
    """Whether tables of a file say what the package's own say."""
    return replace(tables, file=None) == PACKAGED
