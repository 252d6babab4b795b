"""What a run's training state is made of: its sections, and the facts beside them.

`write_state` takes any sections; these are the ones that the training loop writes and that
generation reads. Names within a section are the network's own, without a prefix.
"""

MASTERS = "masters"
"""Every trained weight in float32; the network's weights are these, rounded to its dtype."""

AVERAGE = "average"
"""The running average of the trained weights in float32; absent where none is kept."""

FIRST_MOMENTS = "exp_avg"
SECOND_MOMENTS = "exp_avg_sq"
"""AdamW's moments in float32; absent before the first step."""

RANDOM = "random"
"""States of torch's generators, by device, for code that draws from them."""

# Facts, in the manifest's `info`.
PROGRESS = "progress"  # {iteration, schedule_step, next_index, skipped, skipped_in_a_row};
# next_index is the first place of the global order of clips that was not trained on
OPTIMIZER_STEPS = "optimizer_steps"  # steps that moved the weights
CLIPS = "clips"  # the clip list in use
TOKENIZER = "tokenizer"  # {name, fingerprint}
TEXT_ENCODER = "text_encoder"  # {name, fingerprint}
RECIPE = "recipe"  # the settings as a plain tree
START = "start"  # where the weights came from before the first step
# Of a run that trains adapters: then the sections hold these alone.
ADAPTER = "adapter"  # {rank, alpha, targets, rslora, dora}
BASE = "base"  # {fingerprint, path, which, seed} of the frozen weights
