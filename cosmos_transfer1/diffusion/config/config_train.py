"""Stands where the published commands say `--config=cosmos_transfer1/.../config_train.py`.

The path names the settings of Transfer1, which are `worldtune/recipes/transfer1.py`; nothing is
read from here. The experiments are the tables in `training/experiment/ctrl_7b_tp_sample_av.py`.
"""
