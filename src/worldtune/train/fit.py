"""Whether the weights that a run starts from belong to its network and tokenizer."""

from worldtune.errors import CheckpointError
from worldtune.train.clip_loss import ClipLoss
from worldtune.train.validation import HeldOut, band_losses, loss_of_predicting_nothing


def check_weights_fit(clip_loss: ClipLoss, clips: HeldOut, origin: str) -> float:
    """Compare the first loss on fixed noise with that of predicting nothing; return it.

    Raises CheckpointError where the network does worse than an output of 0 everywhere: its
    weights were trained on other latents, another objective, or are not what their names say.
    """
    nothing = loss_of_predicting_nothing(clip_loss, [clips])
    loss = band_losses(clip_loss, [clips])["mean"]
    if not loss < nothing:
        raise CheckpointError(
            f"the weights of {origin} do not fit: their first loss on fixed noise is {loss:.3f}, "
            f"and a network that predicts nothing has {nothing:.3f}. Look at whether they belong "
            "to this network and were trained with this tokenizer and text encoder; to start "
            "from random weights set model.config.fresh_weights=True"
        )
    return loss
