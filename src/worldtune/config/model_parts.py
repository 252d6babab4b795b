"""Settings of the parts of a model that both families have."""

from worldtune.config.settings import Settings, setting


class ConditionSettings(Settings):
    """One condition of the network and how often it is dropped in training."""

    dropout_rate: float = setting(0.0, "Share of clips trained without it, 0 to 1.", ge=0, le=1)
    input_key: str | tuple[str, ...] = setting("", "Key of the batch it came from.")
    output_key: str = setting("", "Name it was passed on under.")
    dtype: str | None = setting(None, "Precision it was cast to.")


class T5Settings(Settings):
    """The T5 encoder, whose embeddings the published weights were trained on."""

    ckpt_path: str = setting("checkpoints/google-t5/t5-11b", "Folder of its weights.")
    num_tokens: int = setting(512, "Tokens of a caption, zeros after its end.", ge=1)
    embed_dim: int = setting(1024, "Width of a token.", ge=1)


class BuiltinTextSettings(Settings):
    """The built-in encoder, which hashes words."""

    num_tokens: int = setting(64, "Tokens of a caption, the caption's own one included.", ge=2)
    embed_dim: int = setting(128, "Width of a token.", ge=16, multiple_of=8)


class AverageSettings(Settings):
    """The running average of the weights, which is what is sampled from."""

    rate: float = setting(0.1, "Width of the average as a share of the run so far.", gt=0, lt=0.29)
