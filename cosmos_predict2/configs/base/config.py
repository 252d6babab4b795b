"""Stands where the published commands say `--config=cosmos_predict2/configs/base/config.py`.

The path names the settings of Predict2 Video2World, which are `worldtune/recipes/predict2.py`;
nothing is read from here. Own recipes go in a file of their own: see docs/own-recipes.md.
"""
