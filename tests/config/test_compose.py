from worldtune.config.compose import compose
from worldtune.recipes.roots import ROOTS

FULL = "predict2_video2world_training_2b_its"


def test_a_recipe_composes_and_the_command_line_has_the_last_word():
    composed = compose(ROOTS["predict2"], FULL, ["trainer.max_iter=10"], environment={})

    assert composed.recipe.trainer.max_iter == 10
    assert composed.recipe.optimizer.lr == 2**-14.5
    assert composed.origins["trainer.max_iter"] == "the command line"
    assert composed.origins["optimizer.lr"] == f"experiment '{FULL}'"
