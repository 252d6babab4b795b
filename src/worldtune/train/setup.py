"""From a recipe to everything that the loop moves."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from worldtune.config.predict2 import Predict2Recipe
from worldtune.config.settings import SchedulerSettings
from worldtune.inference.pieces import objective, pipeline
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.models.transformer import Transformer
from worldtune.objectives.loss import LossRule
from worldtune.objectives.noise_levels import NoiseLevels, video_factor
from worldtune.objectives.schedule import LambdaLinear, constant
from worldtune.parallel.apply import HowToRun
from worldtune.parallel.mesh import ALONE, ProcessMesh
from worldtune.parallel.pieces import Pieces
from worldtune.train.average import WeightAverage
from worldtune.train.clip_loss import ClipLoss, LossSettings
from worldtune.train.optimizer import MasterAdamW


def loss_settings(recipe: Predict2Recipe) -> LossSettings:
    """What the recipe says of the loss."""
    config, pipe = recipe.model.config, pipeline(recipe)
    return LossSettings(
        objective=objective(recipe),
        levels=NoiseLevels(
            factor=video_factor(pipe.state_t) if config.adjust_video_noise else 1.0,
            high_ratio=config.high_sigma_ratio,
        ),
        rule=LossRule(config.loss_reduce, config.loss_scale),
        seed=recipe.trainer.seed,
        min_given=pipe.min_num_conditional_frames,
        max_given=pipe.max_num_conditional_frames,
        text_dropout=pipe.conditioner.text.dropout_rate,
        frames_dropout=pipe.conditioner.use_video_condition.dropout_rate,
    )


def learning_rate_schedule(settings: SchedulerSettings) -> Callable[[int], float]:
    """The factor on the learning rate, from the number of steps taken."""
    if settings.kind == "constant":
        return constant
    return LambdaLinear(
        warm_up_steps=settings.warm_up_steps,
        cycle_lengths=settings.cycle_lengths,
        f_start=settings.f_start,
        f_max=settings.f_max,
        f_min=settings.f_min,
    )


@dataclass(frozen=True)
class Learner:
    """The network, and what moves and averages the part of it that trains."""

    network: Transformer
    clip_loss: ClipLoss
    optimizer: MasterAdamW
    average: WeightAverage | None
    pieces: Pieces  # what of every weight is held here

    def weights(self) -> dict[str, Tensor]:
        """All weights of the network, in the dtype of the computation; what is held here."""
        dtype = self.network.compute_dtype
        return {name: w.to(dtype or w.dtype) for name, w in self.pieces.held.items()}

    def named_for_comparison(self) -> dict[str, Tensor]:
        """What of weights, masters and average is held here, by name and place.

        Whoever has the same piece has it under the same name.
        """
        kinds: dict[str, Mapping[str, Tensor]] = {"weight": self.pieces.held}
        masters, parameters = self.optimizer.masters, self.optimizer.parameters
        kinds["master"] = {n: m.detach() for n, m in masters.items() if m is not parameters[n]}
        if self.average is not None:
            kinds["average"] = self.average.values
        return {
            f"{kind} '{name}' from {list(self.pieces[name].offsets)} on": tensor
            for kind, tensors in kinds.items()
            for name, tensor in tensors.items()
        }

    def bytes_held(self) -> dict[str, int]:
        """Memory of everything but activations on this process, by what it is for."""
        weights = sum(w.nbytes for w in self.pieces.held.values())
        masters = self.optimizer.masters
        own = [m for name, m in masters.items() if m is not self.optimizer.parameters[name]]
        trained = sum(m.numel() for m in masters.values())
        held = {
            "weights": weights,
            "float32 masters": sum(m.nbytes for m in own),
            "gradients": 4 * trained,
            "AdamW moments": 8 * trained,
        }
        if self.average is not None:
            held["average"] = sum(v.nbytes for v in self.average.values.values())
        return held


def build_learner(
    recipe: Predict2Recipe,
    network: Transformer,
    tokenizer: VideoTokenizer,
    mesh: ProcessMesh = ALONE,
) -> Learner:
    """Optimiser and average over whatever of the network trains."""
    pipe, settings = pipeline(recipe), recipe.optimizer
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimizer = MasterAdamW(
        trained,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )
    average = None
    if pipe.ema.enabled:
        average = WeightAverage(
            optimizer.parameters,
            rate=pipe.ema.rate,
            iteration_shift=pipe.ema.iteration_shift,
            dtype=network.compute_dtype,
        )
    return Learner(
        network=network,
        clip_loss=ClipLoss(network, tokenizer, loss_settings(recipe)),
        optimizer=optimizer,
        average=average,
        pieces=Pieces(network, mesh),
    )


def how_to_run(recipe: Predict2Recipe) -> HowToRun:
    """What the recipe says on recompute and compilation."""
    recompute = pipeline(recipe).net.sac_config
    return HowToRun(
        recompute=recompute.mode,
        every_n_blocks=recompute.every_n_blocks,
        compile_blocks=recipe.model.config.compile_blocks,
    )


def clip_norm(recipe: Predict2Recipe) -> float:
    """Largest gradient norm; infinite where clipping is off."""
    callback = recipe.trainer.callbacks.grad_clip
    return callback.clip_norm if callback is not None else math.inf


def memory_remedies(recipe: Predict2Recipe) -> tuple[str, ...]:
    """Settings that lower the memory of this recipe, the most useful first.

    Each can be put behind the command as it is; the network is the same with all but LoRA.
    """
    dataset, loader, pipe = (
        recipe.dataloader_train.dataset,
        recipe.dataloader_train,
        pipeline(recipe),
    )
    remedies = []
    if loader.batch_size > 1:
        smaller = loader.batch_size // 2
        remedies.append(
            f"dataloader_train.batch_size={smaller} trainer.grad_accum_iter="
            f"{recipe.trainer.grad_accum_iter * 2}"
        )
    if recipe.model.config.train_architecture == "base":
        remedies.append("model.config.train_architecture=lora")
    if pipe.net.sac_config.mode != "block_wise":
        remedies.append("model.config.pipe_config.net.sac_config.mode=block_wise")
    smaller_size = [max(16, side // 2 // 16 * 16) for side in dataset.video_size]
    if smaller_size != list(dataset.video_size):
        rows, columns = smaller_size
        remedies.append(f"dataloader_train.dataset.video_size=[{rows},{columns}]")
    shorter = max(pipe.max_num_conditional_frames + 1, pipe.state_t // 2)
    if shorter < pipe.state_t:
        remedies.append(f"model.config.pipe_config.state_t={shorter}")
    if recipe.model.config.precision == "float32":
        remedies.append("model.config.precision=bfloat16")
    if pipe.ema.enabled:
        remedies.append("model.config.pipe_config.ema.enabled=False")
    return tuple(remedies)
