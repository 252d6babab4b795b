"""Which layers a recipe's adapters would be on, told without building the network or torch."""

from worldtune.checkpoint.shapes import Sizes, network_shapes
from worldtune.config.mistakes import Mistake
from worldtune.config.video2world import ModelConfig
from worldtune.errors import RecipeError
from worldtune.models.config import TransformerConfig
from worldtune.models.lora_config import TARGETS_KEY, match_targets, read_targets


def target_mistakes(config: ModelConfig) -> list[Mistake]:
    """A mistake for each target that is the end of no linear layer's name."""
    if config.train_architecture != "lora":
        return []
    net = config.pipe_config.net
    sizes = TransformerConfig(
        model_channels=net.model_channels,
        num_blocks=net.num_blocks,
        num_heads=net.num_heads,
        condition_mask=True,
    )
    # In this network every matrix is that of a linear layer.
    layers = [
        name.removesuffix(".weight")
        for name, shape in network_shapes(Sizes(sizes)).items()
        if len(shape) == 2
    ]
    try:
        match_targets(layers, read_targets(config.lora_target_modules))
    except RecipeError as error:
        return [Mistake(line, (TARGETS_KEY,)) for line in str(error).splitlines()]
    return []
